// What is around every page: sign-in, navigation, who one is, and whether the server is there.

import { useEffect, useRef, useState } from "preact/hooks";
import { signIn, signOut, whoAmI } from "./api";
import { duration } from "./format";
import { Keys, showKeys } from "./keys";
import { lostSince, now, retry, stats } from "./live";
import { allowedPages } from "./pages/all";
import { SearchBox } from "./parts/searchbox";
import { Empty } from "./parts/show";
import { Messages, Questions, act } from "./parts/talk";
import { route, to } from "./router";
import { ended, mayAll, mayAny, session } from "./session";
import { switchTheme, theme } from "./theme";

export function Frame() {
  const [failed, setFailed] = useState("");
  const ask = () => {
    setFailed("");
    whoAmI().catch((error: Error) => setFailed(error.message));
  };
  useEffect(ask, []);

  if (session.value === undefined) return <Starting failed={failed} retry={ask} />;
  return (
    <>
      {session.value === null ? <SignIn /> : <Inside />}
      <Messages />
      <Questions />
    </>
  );
}

const Starting = ({ failed, retry }: { failed: string; retry: () => void }) => (
  <main class="alone">
    <h1>TaskQueueX</h1>
    {failed ? (
      <>
        <p role="alert">{failed}</p>
        <button class="primary" onClick={retry}>
          Try again
        </button>
      </>
    ) : (
      <p>Asking the server…</p>
    )}
  </main>
);

function SignIn() {
  const [token, setToken] = useState("");
  const [wrong, setWrong] = useState("");
  const submit = async (event: Event) => {
    event.preventDefault();
    try {
      await signIn(token.trim());
    } catch (error) {
      setWrong(error instanceof Error ? error.message : String(error));
    }
  };
  return (
    <main class="alone">
      <form class="signin" onSubmit={submit}>
        <h1>TaskQueueX</h1>
        <p>{ended.value || "This server asks for a token."}</p>
        <label class="field">
          Token
          <input
            type="password"
            autocomplete="current-password"
            autofocus
            required
            value={token}
            onInput={(event) => setToken(event.currentTarget.value)}
          />
        </label>
        {wrong && (
          <p class="failure" role="alert">
            {wrong}
          </p>
        )}
        <button class="primary" type="submit">
          Sign in
        </button>
        <p class="muted">
          <code>tqx token create</code> makes one. The page keeps a session, not the token.
        </p>
      </form>
    </main>
  );
}

function Inside() {
  const pages = allowedPages();
  const [first = "overview", ...rest] = route.value.parts;
  const page = pages.find((each) => each.path === first);
  const name = rest.join("/");
  const main = useRef<HTMLElement>(null);
  const title = name ? `${name} – ${page?.title}` : (page?.title ?? "Not here");

  useEffect(() => {
    document.title = `${title} – TaskQueueX`;
    main.current?.scrollTo(0, 0);
  }, [title]);

  return (
    <div class="frame">
      <a class="skip" href="#main" onClick={(event) => (event.preventDefault(), main.current?.focus())}>
        To the content
      </a>
      <Head />
      <nav aria-label="Pages">
        {pages.map((each) => (
          <a key={each.path} href={to(each.path)} aria-current={each === page ? "page" : undefined}>
            {each.title}
            <kbd aria-hidden="true">g {each.key}</kbd>
          </a>
        ))}
      </nav>
      <main id="main" ref={main} tabIndex={-1}>
        <Lost />
        {!mayAny("read") ? (
          <Empty>This token may not look at anything: it has no scope "read".</Empty>
        ) : !page || (name && !page.One) ? (
          <Nowhere />
        ) : name && page.One ? (
          <page.One key={name} name={name} />
        ) : (
          <page.List />
        )}
      </main>
      <Keys />
    </div>
  );
}

const Nowhere = () => (
  <>
    <h1>Not here</h1>
    <Empty>There is no such page, or it is not for this token.</Empty>
  </>
);

function Head() {
  const who = session.value!.principal;
  const there = lostSince.value === null;
  return (
    <header class="head">
      <a class="brand" href={to("overview")}>
        TaskQueueX
      </a>
      <span class={there ? "pulse" : "pulse lost"} role="img" aria-label={there ? "connected" : "connection lost"}>
        {there ? "●" : "✖"}
      </span>
      {mayAll("read") && (
        <span class="muted wide version">
          {stats.value && `${stats.value.version}, up ${duration(stats.value.uptime_ms)}`}
        </span>
      )}
      {mayAny("read") && <SearchBox />}
      <button class="plain" aria-label="Show the keys" title="Keys (?)" onClick={showKeys}>
        ?
      </button>
      <button
        class="plain"
        aria-label={theme.value === "dark" ? "Switch to light" : "Switch to dark"}
        title="Light or dark"
        onClick={switchTheme}
      >
        {theme.value === "dark" ? "☀" : "☾"}
      </button>
      <span class="who" title={session.value!.scopes.join(", ")}>
        {who.name}
      </span>
      {session.value!.csrf_token && (
        <button class="plain" onClick={() => void act(signOut, "Signed out")}>
          Sign out
        </button>
      )}
    </header>
  );
}

function Lost() {
  if (lostSince.value === null) return null;
  const since = Math.max(0, Date.now() - lostSince.value);
  return (
    <div class="banner" role="alert" data-at={now.value}>
      <span aria-hidden="true">✖</span> Connection lost {duration(Math.round(since / 1_000) * 1_000)} ago. What you see is
      from before; trying again.
      <button onClick={() => void retry()}>Try now</button>
    </div>
  );
}
