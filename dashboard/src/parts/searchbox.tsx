// The search of the head of each page, with what could be typed next below it.

import { useEffect, useState } from "preact/hooks";
import { get } from "../api";
import { go, route, toTasks } from "../router";
import { complete, completions } from "../search";
import type { Queue } from "../types";

export function SearchBox() {
  const shown = route.value.parts[0] === "tasks" && !route.value.parts[1] ? (route.value.query.get("q") ?? "") : "";
  const [text, setText] = useState(shown);
  const [open, setOpen] = useState(false);
  const [chosen, setChosen] = useState(-1);
  const [queues, setQueues] = useState<string[]>([]);
  useEffect(() => setText(shown), [shown]);

  const offers = open ? completions(text, { queue: queues }) : [];
  const onFocus = () => {
    setOpen(true);
    // The names are for completion only: without them one types.
    get<{ queues: Queue[] }>("/v1/queues").then(
      ({ queues }) => setQueues(queues.map((each) => each.name)),
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
