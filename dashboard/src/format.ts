// How figures and times are written.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

export const count = (value: number): string => whole.format(value);

/** A figure in about four characters: 999, 12.3k, 4.56M. */
export function short(value: number): string {
  if (value < 10_000) return whole.format(value);
  const [unit, scale] = value < 1e6 ? ["k", 1e3] : value < 1e9 ? ["M", 1e6] : ["G", 1e9];
  const scaled = value / (scale as number);
  return `${scaled < 100 ? scaled.toFixed(1) : scaled.toFixed(0)}${unit}`;
}

export const rate = (value: number): string =>
  value === 0 ? "0" : value < 10 ? value.toFixed(1) : short(Math.round(value));

/** A latency that was measured, in milliseconds. */
export function latency(ms: number): string {
  if (ms >= 1_000) return duration(ms);
  if (ms === 0) return "0 ms";
  return `${ms < 10 ? ms.toFixed(2) : ms < 100 ? ms.toFixed(1) : ms.toFixed(0)} ms`;
}

const STEPS: [string, number][] = [["d", 86_400_000], ["h", 3_600_000], ["m", 60_000], ["s", 1_000]];

/** A length of time in its two largest units: 3d 4h, 12m 5s, 800 ms. */
export function duration(ms: number): string {
  if (ms < 1_000) return `${Math.max(0, Math.round(ms))} ms`;
  const index = STEPS.findIndex(([, size]) => ms >= size);
  const [unit, size] = STEPS[index]!;
  const next = STEPS[index + 1];
  const rest = next ? Math.floor((ms % size) / next[1]) : 0;
  return `${Math.floor(ms / size)}${unit}${next && rest ? ` ${rest}${next[0]}` : ""}`;
}

export function bytes(value: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let index = 0;
  while (value >= 1024 && index < units.length - 1) {
    value /= 1024;
    index += 1;
  }
  return `${index && value < 100 ? value.toFixed(1) : value.toFixed(0)} ${units[index]}`;
}

const pad = (value: number, size = 2): string => String(value).padStart(size, "0");

/** The time of day here, with the day where it is another one. */
export function clock(at: number, withDay = new Date(at).toDateString() !== new Date().toDateString()): string {
  const date = new Date(at);
  const time = `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}`;
  return withDay ? `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())} ${time}` : time;
}

export const instant = (at: number): string => `${clock(at, true)}.${pad(new Date(at).getMilliseconds(), 3)}`;

/** JSON as a person reads it. */
export const pretty = (value: unknown): string => JSON.stringify(value, null, 2) ?? "";

/** The first line of a text, cut. */
export function line(text: string, size = 120): string {
  const first = text.split("\n", 1)[0] ?? "";
  return first.length > size ? `${first.slice(0, size - 1)}…` : first;
}

export const plural = (value: number, one: string, many = `${one}s`): string =>
  `${count(value)} ${value === 1 ? one : many}`;
