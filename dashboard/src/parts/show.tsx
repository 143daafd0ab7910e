// Small things that pages are made of.

import type { ButtonHTMLAttributes, ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import type { ApiError } from "../api";
import { clock, duration, instant, pretty } from "../format";
import { now } from "../live";
import { to } from "../router";
import type { StateName, Why } from "../types";
import type { Polled } from "./poll";

// A shape for each state, so that nobody needs to see its colour.
const SHAPES: Record<StateName, string> = {
  scheduled: "◷",
  blocked: "◫",
  ready: "●",
  running: "▶",
  retrying: "↻",
  completed: "✓",
  cancelled: "⊘",
  expired: "◌",
  dead: "✖",
};

export const State = ({ state }: { state: StateName }) => (
  <span class={`state ${state}`}>
    <span aria-hidden="true">{SHAPES[state]}</span> {state}
  </span>
);

export const Tag = ({ tone = "", children }: { tone?: "" | "bad" | "warn" | "good"; children: ComponentChildren }) => (
  <span class={`tag ${tone}`}>{children}</span>
);

/** How long ago something was. */
export const Ago = ({ at }: { at: number | null }) =>
  at === null ? (
    <span class="muted">–</span>
  ) : (
    <time dateTime={new Date(at).toISOString()} title={instant(at)}>
      {now.value - at < 1_000 ? "now" : `${duration(now.value - at)} ago`}
    </time>
  );

/** When something will be. */
export const Until = ({ at }: { at: number | null }) =>
  at === null ? (
    <span class="muted">–</span>
  ) : (
    <time dateTime={new Date(at).toISOString()} title={instant(at)}>
      {at <= now.value ? "due" : `in ${duration(at - now.value)}`}
    </time>
  );

export const At = ({ at }: { at: number | null }) =>
  at === null ? (
    <span class="muted">–</span>
  ) : (
    <time dateTime={new Date(at).toISOString()} title={instant(at)}>
      {clock(at)}
    </time>
  );

export const TaskLink = ({ id }: { id: string }) => (
  <a class="id" href={to("tasks", id)} title={id}>
    {id.slice(0, 13)}…{id.slice(-6)}
  </a>
);

export const QueueLink = ({ name }: { name: string }) => <a href={to("queues", name)}>{name}</a>;

export const Code = ({ text, label }: { text: string; label: string }) => (
  <pre class="code" tabIndex={0} role="region" aria-label={label}>
    {text}
  </pre>
);

export const JsonBlock = ({ value, label }: { value: unknown; label: string }) => (
  <Code text={pretty(value)} label={`${label} as JSON`} />
);

/** A table that scrolls sideways by itself where it is wider than the screen. */
export const Grid = (props: { label: string; head: ComponentChildren; children: ComponentChildren; class?: string }) => (
  <div class={`scroll ${props.class ?? ""}`} role="region" aria-label={props.label} tabIndex={0}>
    <table>
      <thead>
        <tr>{props.head}</tr>
      </thead>
      <tbody>{props.children}</tbody>
    </table>
  </div>
);

export const Panel = (props: { title: string; aside?: ComponentChildren; class?: string; children: ComponentChildren }) => (
  <section class={`panel ${props.class ?? ""}`} aria-label={props.title}>
    <header>
      <h2>{props.title}</h2>
      {props.aside}
    </header>
    {props.children}
  </section>
);

export const Empty = ({ children }: { children: ComponentChildren }) => <p class="empty">{children}</p>;

export const Failure = ({ error }: { error: ApiError }) => (
  <p class="failure" role="alert">
    <span aria-hidden="true">✖</span> {error.message}
  </p>
);

/** What was read, or that it is not there yet, or why it could not be. */
export function Loaded<T>({ of, children }: { of: Polled<T>; children: (data: T) => ComponentChildren }) {
  if (of.data !== null) return <>{children(of.data)}</>;
  return of.error ? <Failure error={of.error} /> : <Empty>Reading…</Empty>;
}

/** Why something does not go on, and until when. */
export const Reasons = ({ reasons, none }: { reasons: Why["reasons"]; none: string }) =>
  reasons.length ? (
    <ul class="reasons">
      {reasons.map((reason) => (
        <li key={reason.code}>
          <b>{reason.code.replaceAll("_", " ")}</b> {reason.detail}
          {reason.until !== undefined && reason.until !== null && (
            <>
              {" "}
              (<Until at={reason.until} />)
            </>
          )}
          {reason.ids?.slice(0, 5).map((id) => (
            <span key={id}>
              {" "}
              <TaskLink id={id} />
            </span>
          ))}
        </li>
      ))}
    </ul>
  ) : (
    <Empty>{none}</Empty>
  );

export const Fact = ({ name, children }: { name: string; children: ComponentChildren }) => (
  <div class="fact">
    <dt>{name}</dt>
    <dd>{children}</dd>
  </div>
);

/** A line of figures without axes, as high as its largest one. */
export function Spark({ values, label }: { values: number[]; label: string }) {
  const width = 96;
  const height = 20;
  const top = Math.max(...values, 0);
  const x = (index: number) => (values.length < 2 ? width : (index / (values.length - 1)) * width);
  const y = (value: number) => height - 1.5 - (top ? (value / top) * (height - 3) : 0);
  const points = values.map((value, index) => `${x(index).toFixed(1)},${y(value).toFixed(1)}`).join(" ");
  return (
    <svg class="spark" role="img" aria-label={label} viewBox={`0 0 ${width} ${height}`} width={width} height={height}>
      {values.length > 1 && <polyline points={points} />}
    </svg>
  );
}

/**
 * A field of a filter. What is typed is its own until it is left, or Enter pressed: what comes meanwhile draws the
 * page anew, and must not take it away.
 */
export function FilterField(props: { label: string; size: number; value: string; onCommit: (value: string) => void }) {
  const [text, setText] = useState(props.value);
  useEffect(() => setText(props.value), [props.value]);
  return (
    <label>
      {props.label}{" "}
      <input
        size={props.size}
        value={text}
        onInput={(event) => setText(event.currentTarget.value)}
        onChange={(event) => props.onCommit(event.currentTarget.value.trim())}
      />
    </label>
  );
}

/** A button that is not pressed twice while its work goes on. */
export function Act(
  props: { onAct: () => Promise<unknown>; children: ComponentChildren } & ButtonHTMLAttributes<HTMLButtonElement>,
) {
  const { onAct, children, ...rest } = props;
  return (
    <button
      type="button"
      {...rest}
      onClick={async (event) => {
        const button = event.currentTarget;
        if (button.ariaBusy === "true") return;
        button.ariaBusy = "true";
        await onAct();
        button.ariaBusy = null;
      }}
    >
      {children}
    </button>
  );
}
