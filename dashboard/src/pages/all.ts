// The pages: their names, the key that follows `g`, and who may see them.

import type { ComponentType } from "preact";
import { isAdmin, mayAll, mayAny } from "../session";
import { Access } from "./access";
import { Dead } from "./dead";
import { Events } from "./events";
import { Metrics } from "./metrics";
import { Overview } from "./overview";
import { QueuePage } from "./queue";
import { Queues } from "./queues";
import { Schedules } from "./schedules";
import { TaskPage } from "./task";
import { Tasks } from "./tasks";
import { Workers } from "./workers";
import { WorkflowPage, Workflows } from "./workflows";

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
  { path: "workers", title: "Workers", key: "w", allowed: () => mayAll("read"), List: Workers },
  { path: "schedules", title: "Schedules", key: "s", allowed: reads, List: Schedules },
  { path: "workflows", title: "Workflows", key: "f", allowed: reads, List: Workflows, One: WorkflowPage },
  { path: "events", title: "Events", key: "e", allowed: reads, List: Events },
  { path: "metrics", title: "Metrics", key: "m", allowed: () => mayAll("read"), List: Metrics },
  { path: "access", title: "Access", key: "a", allowed: isAdmin, List: Access },
];

export const allowedPages = (): Page[] => pages.filter((page) => page.allowed());
