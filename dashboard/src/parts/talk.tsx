// What the page says and asks: short messages, and questions before something is changed.

import { signal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

interface Message {
  id: number;
  text: string;
  bad: boolean;
}

interface Question {
  title: string;
  body?: ComponentChildren;
  yes: string;
  danger?: boolean;
  /** What has to be typed before the answer can be yes. */
  typed?: string;
}

const messages = signal<Message[]>([]);
const asked = signal<(Question & { answer: (yes: boolean) => void }) | null>(null);
let last = 0;

const SHOWN_MS = 6_000;

export function say(text: string, bad = false): void {
  const id = ++last;
  messages.value = [...messages.value, { id, text, bad }].slice(-4);
  setTimeout(() => unsay(id), bad ? 3 * SHOWN_MS : SHOWN_MS);
}

const unsay = (id: number): void => {
  messages.value = messages.value.filter((each) => each.id !== id);
};

/** Asks, and tells whether the answer was yes. */
export const ask = (question: Question): Promise<boolean> =>
  new Promise((resolve) => {
    asked.value = {
      ...question,
      answer: (yes) => {
        asked.value = null;
        resolve(yes);
      },
    };
  });

/** Makes a change and says what came of it. Returns whether it was made. */
export async function act(change: () => Promise<unknown>, done: string): Promise<boolean> {
  try {
    await change();
    say(done);
    return true;
  } catch (error) {
    say(error instanceof Error ? error.message : String(error), true);
    return false;
  }
}

export const Messages = () => (
  <div class="messages" role="status" aria-live="polite">
    {messages.value.map((each) => (
      <div key={each.id} class={each.bad ? "message bad" : "message"}>
        <span>{each.bad ? `✖ ${each.text}` : `✓ ${each.text}`}</span>
        <button class="plain" aria-label="Dismiss" onClick={() => unsay(each.id)}>
          ×
        </button>
      </div>
    ))}
  </div>
);

/** A modal dialog. Escape and a click beside it close it. */
export function Modal(props: { title: string; onClose: () => void; children: ComponentChildren }) {
  const element = useRef<HTMLDialogElement>(null);
  useEffect(() => element.current?.showModal(), []);
  return (
    <dialog
      ref={element}
      aria-label={props.title}
      onClose={props.onClose}
      onClick={(event) => event.target === element.current && props.onClose()}
    >
      <div class="dialog">
        <h2>{props.title}</h2>
        {props.children}
      </div>
    </dialog>
  );
}

export function Questions() {
  const question = asked.value;
  return question && <Ask key={question.title} question={question} answer={question.answer} />;
}

function Ask({ question, answer }: { question: Question; answer: (yes: boolean) => void }) {
  const [typed, setTyped] = useState("");
  const ready = question.typed === undefined || typed === question.typed;
  return (
    <Modal title={question.title} onClose={() => answer(false)}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (ready) answer(true);
        }}
      >
        {question.body}
        {question.typed !== undefined && (
          <label class="field">
            Type <b>{question.typed}</b> to go on
            <input
              autofocus
              autocomplete="off"
              value={typed}
              onInput={(event) => setTyped(event.currentTarget.value)}
            />
          </label>
        )}
        <div class="actions">
          <button type="button" onClick={() => answer(false)}>
            Leave as it is
          </button>
          <button type="submit" class={question.danger ? "danger" : "primary"} disabled={!ready}>
            {question.yes}
          </button>
        </div>
      </form>
    </Modal>
  );
}
