// The search of the head of each page, with what could be typed next below it.

import { useEffect, useState } from "preact/hooks";
import { get } from "../api";
import { go, route, toTasks } from "../router";
import { complete, completions, note, noteTasks } from "../search";
import type { DeadGroup, Queue, TaskPage } from "../types";

const LEARNED_MS = 30_000;
let learnedAt = 0;

/** Reads the names of queues, the latest tasks and the errors there are, where that is some time ago. */
async function learn(): Promise<void> {
  if (Date.now() - learnedAt < LEARNED_MS) return;
  learnedAt = Date.now();
  const [{ queues }, { tasks }, { groups }] = await Promise.all([
    get<{ queues: Queue[] }>("/v1/queues?max_age_ms=30000"),
    get<TaskPage>("/v1/tasks?limit=200"),
    get<{ groups: DeadGroup[] }>("/v1/dead/groups?limit=100&max_age_ms=30000"),
  ]);
  noteTasks(tasks);
  for (const group of groups) {
    note("name", group.name);
    note("error", group.error);
  }
  for (const queue of queues) note("queue", queue.name);
}

export function SearchBox() {
  const shown = route.value.parts[0] === "tasks" && !route.value.parts[1] ? (route.value.query.get("q") ?? "") : "";
  const [text, setText] = useState(shown);
  const [open, setOpen] = useState(false);
  const [chosen, setChosen] = useState(-1);
  const [, setKnown] = useState(0);
  useEffect(() => setText(shown), [shown]);

  const offers = open ? completions(text) : [];
  const onFocus = () => {
    setOpen(true);
    // They are for completion only: without them one types.
    void learn().then(
      () => setKnown((before) => before + 1),
      () => undefined,
    );
  };
  const take = (offer: string) => {
    setText(complete(text, offer) + (offer.endsWith(":") ? "" : " "));
    setChosen(-1);
    document.getElementById("search")?.focus();
  };
  const submit = () => {
    setOpen(false);
    go(toTasks(text.trim()));
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const step = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
    if (step && offers.length) {
      event.preventDefault();
      setChosen((chosen + step + offers.length) % offers.length);
    } else if (event.key === "Tab" && offers.length === 1 && text && !event.shiftKey) {
      event.preventDefault();
      take(offers[0]!);
    } else if (event.key === "Enter") {
      event.preventDefault();
      const offer = offers[chosen];
      if (offer) take(offer);
      else submit();
    } else if (event.key === "Escape") setOpen(false);
  };

  return (
    <form class="search" role="search" onSubmit={(event) => event.preventDefault()}>
      <input
        id="search"
        type="text"
        role="combobox"
        aria-label="Search tasks"
        aria-expanded={offers.length > 0}
        aria-controls="offers"
        aria-autocomplete="list"
        aria-activedescendant={chosen >= 0 ? `offer-${chosen}` : undefined}
        placeholder="Search tasks:  queue:orders state:dead"
        autocomplete="off"
        spellcheck={false}
        value={text}
        onFocus={onFocus}
        onBlur={() => setOpen(false)}
        onKeyDown={onKeyDown}
        onInput={(event) => {
          setText(event.currentTarget.value);
          setOpen(true);
          setChosen(-1);
        }}
      />
      <ul id="offers" role="listbox" aria-label="Completions" hidden={!offers.length}>
        {offers.map((offer, index) => (
          <li
            key={offer}
            id={`offer-${index}`}
            role="option"
            aria-selected={index === chosen}
            // Before the field loses the focus, and the list goes with it.
            onMouseDown={(event) => {
              event.preventDefault();
              take(offer);
            }}
          >
            {offer}
          </li>
        ))}
      </ul>
    </form>
  );
}
