// Keys: `g` and a letter goes to a page, `/` searches, `?` shows them. None works while one types.

import { signal } from "@preact/signals";
import { useLayoutEffect } from "preact/hooks";
import { allowedPages } from "./pages/all";
import { Modal } from "./parts/talk";
import { go, to } from "./router";

const WAIT_MS = 1_500;
const helping = signal(false);
let goingSince = 0;

export const showKeys = (): void => {
  helping.value = true;
};

function typing(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && target.matches("input, textarea, select, dialog *");
}

function onKey(event: KeyboardEvent): void {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape" && document.activeElement instanceof HTMLElement) document.activeElement.blur();
  if (typing(event.target)) return;
  if (Date.now() - goingSince < WAIT_MS) {
    goingSince = 0;
    const page = allowedPages().find((each) => each.key === event.key);
    if (page) {
      event.preventDefault();
      go(to(page.path));
    }
  } else if (event.key === "g") goingSince = Date.now();
  else if (event.key === "?") showKeys();
  else if (event.key === "/") {
    event.preventDefault();
    document.getElementById("search")?.focus();
  }
}

export function Keys() {
  // Before the page is seen, so that no key is lost.
  useLayoutEffect(() => {
    addEventListener("keydown", onKey);
    return () => removeEventListener("keydown", onKey);
  }, []);
  if (!helping.value) return null;
  const keys = [
    ...allowedPages().map((page) => [`g ${page.key}`, page.title]),
    ["/", "search tasks"],
    ["?", "these keys"],
    ["Escape", "leave a field, close a dialog"],
  ];
  return (
    <Modal title="Keys" onClose={() => (helping.value = false)}>
      <dl class="keys">
        {keys.map(([key, meaning]) => (
          <div key={key}>
            <dt>
              <kbd>{key}</kbd>
            </dt>
            <dd>{meaning}</dd>
          </div>
        ))}
      </dl>
      <div class="actions">
        <button type="button" onClick={() => (helping.value = false)}>
          Close
        </button>
      </div>
    </Modal>
  );
}
