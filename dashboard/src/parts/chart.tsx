// Lines over time, drawn by uPlot. Colours come from the style sheet, so that they follow the theme.

import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { clock } from "../format";
import { theme } from "../theme";

export interface Line {
  name: string;
  /** A custom property of the style sheet, as in `--in`. */
  colour: string;
  values: (number | null)[];
}

interface Props {
  label: string;
  /** Unix milliseconds. */
  times: number[];
  lines: Line[];
  format: (value: number) => string;
  height?: number;
  /** The values are bytes: marks at round figures of those. */
  binary?: boolean;
  /** Below the chart: the names of the lines, and their values under the pointer. */
  legend?: boolean;
}

function colourOf(element: HTMLElement, property: string): string {
  const probe = document.createElement("span");
  probe.style.color = `var(${property})`;
  element.append(probe);
  const colour = getComputedStyle(probe).color;
  probe.remove();
  return colour;
}

const HOUR = 3_600;
// Seconds between two marks of the time: none is finer than what is written beside them.
const STEPS = [1, 5, 10, 15, 30, 60, 300, 600, 900, 1_800, ...[1, 2, 3, 6, 12, 24, 48, 120, 240].map((h) => h * HOUR)];
const POWERS = Array.from({ length: 50 }, (_, power) => 2 ** power);

function options(element: HTMLElement, props: Props, height: number): uPlot.Options {
  const axis = { stroke: colourOf(element, "--muted"), font: "11px system-ui, sans-serif" };
  const grid = { stroke: colourOf(element, "--line"), width: 1 };
  return {
    width: Math.max(200, element.clientWidth),
    height,
    padding: [null, 30, null, null],
    legend: { show: props.legend ?? true },
    cursor: { y: false, drag: { x: false, y: false } },
    scales: { y: { range: (_, __, max) => [0, max > 0 ? max * 1.1 : 1] } },
    axes: [
      {
        ...axis,
        grid: { show: false },
        ticks: grid,
        size: 28,
        space: 70,
        incrs: STEPS,
        values: (_, marks, __, ___, stepS) => marks.map((at) => mark(at, stepS)),
      },
      {
        ...axis,
        grid,
        ticks: { show: false },
        size: 56,
        values: (_, marks) => marks.map(props.format),
        ...(props.binary && { incrs: POWERS }),
      },
    ],
    series: [
      { value: (_, at) => (at ? clock(at * 1_000) : "–") },
      ...props.lines.map((line) => ({
        label: line.name,
        stroke: colourOf(element, line.colour),
        width: 1.5,
        points: { show: false },
        value: (_: uPlot, value: number | null) => (value == null ? "–" : props.format(value)),
      })),
    ],
  };
}

/** The time of a mark on the axis, as finely as its neighbours need. */
function mark(at: number, stepS: number): string {
  const date = new Date(at * 1_000);
  if (stepS >= 86_400) return date.toLocaleDateString("en", { day: "numeric", month: "short" });
  const second = stepS < 60 ? ({ second: "2-digit" } as const) : {};
  return date.toLocaleTimeString("en", { hour: "2-digit", minute: "2-digit", hourCycle: "h23", ...second });
}

const dataOf = (props: Props): uPlot.AlignedData => [
  props.times.map((at) => at / 1_000),
  ...props.lines.map((line) => line.values),
];

export function Chart(props: Props) {
  const element = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const height = props.height ?? 160;
  const names = props.lines.map((line) => line.name).join();

  useEffect(() => {
    const inside = element.current!;
    plot.current = new uPlot(options(inside, props, height), dataOf(props), inside);
    const observer = new ResizeObserver(() =>
      plot.current?.setSize({ width: Math.max(200, inside.clientWidth), height }),
    );
    observer.observe(inside);
    return () => {
      observer.disconnect();
      plot.current?.destroy();
    };
  }, [names, height, theme.value]);

  useEffect(() => plot.current?.setData(dataOf(props)), [props.times, props.lines]);

  const latest = props.lines.map((line) => `${line.name} ${props.format(line.values.at(-1) ?? 0)}`).join(", ");
  return <div class="chart" ref={element} role="img" aria-label={`${props.label}: now ${latest}`} />;
}
