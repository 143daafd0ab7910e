// The pages: their names, the key that follows `g`, and who may see them.

import type { ComponentType } from "preact";
import { mayAny } from "../session";
import { Dead } from "./dead";
import { Overview } from "./overview";
import { QueuePage } from "./queue";
import { Queues } from "./queues";
import { TaskPage } from "./task";
import { Tasks } from "./tasks";

export interface Page {
  /** The first part of the address. */
  path: string;
  title: string;
  key: string;
  allowed: () => boolean;
  List: ComponentType;
  /** The page of one of them, by what follows in the address. */
  One?: ComponentType<{ name: string }>;
}

const reads = () => mayAny("read");

export const pages: Page[] = [
  { path: "overview", title: "Overview", key: "o", allowed: reads, List: Overview },
  { path: "queues", title: "Queues", key: "q", allowed: reads, List: Queues, One: QueuePage },
  { path: "dead", title: "Dead letters", key: "d", allowed: reads, List: Dead },
  { path: "tasks", title: "Tasks", key: "t", allowed: reads, List: Tasks, One: TaskPage },
];

export const allowedPages = (): Page[] => pages.filter((page) => page.allowed());
