// Calls to the server. Errors are its problem+json; without an answer the status is 0.

import { ended, session } from "./session";
import type { Problem, Session } from "./types";

export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly problem: Partial<Problem>,
  ) {
    const fields = problem.errors?.map((each) => `${each.field}: ${each.message}`).join("; ");
    super(fields || problem.detail || problem.title || "The server did not answer");
  }
}

type Method = "GET" | "POST" | "PUT" | "PATCH" | "DELETE";

async function send(method: Method, path: string, body?: unknown, signal?: AbortSignal): Promise<Response> {
  const headers: Record<string, string> = {};
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const csrf = session.value?.csrf_token;
  if (csrf && method !== "GET") headers["X-CSRF-Token"] = csrf;
  const init: RequestInit = { method, headers, signal: signal ?? null };
  // A blob is JSON that is written already.
  if (body !== undefined) init.body = body instanceof Blob ? body : JSON.stringify(body);
  try {
    return await fetch(path, init);
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ApiError(0, { detail: "The server cannot be reached" });
  }
}

/**
 * Keeps numbers that JavaScript would round, as ids of twenty digits in a payload, as they were written.
 * No figure of the server itself is of that kind.
 */
function exactly(_: string, value: unknown, context?: { source?: string }): unknown {
  const source = context?.source;
  if (typeof value !== "number" || !source || source.length < 16 || String(value) === source) return value;
  const raw = (JSON as { rawJSON?: (text: string) => unknown }).rawJSON;
  return raw && /^-?[\d.]+$/.test(source) ? raw(source) : value;
}

/** Makes a call. Raises ApiError; a 401 leads to the sign-in as well. */
export async function call<T>(method: Method, path: string, body?: unknown, signal?: AbortSignal): Promise<T> {
  const response = await send(method, path, body, signal);
  if (response.ok) return JSON.parse(await response.text(), exactly) as T;
  const problem = (await response.json().catch(() => ({}))) as Partial<Problem>;
  if (response.status === 401 && method !== "POST" && session.value) {
    ended.value = "The session has ended.";
    session.value = null;
  }
  throw new ApiError(response.status, problem);
}

export const get = <T>(path: string, signal?: AbortSignal): Promise<T> => call<T>("GET", path, undefined, signal);
export const post = <T>(path: string, body: unknown = undefined): Promise<T> => call<T>("POST", path, body);

/** A path of the interface: `v1("queues", name)`, each part escaped. */
export const v1 = (...parts: string[]): string => `/v1/${parts.map(encodeURIComponent).join("/")}`;

/** A path with its parameters, without those that are empty. */
export function withQuery(path: string, query: Record<string, string | number | boolean | null | undefined>): string {
  const found = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== "");
  const text = new URLSearchParams(found.map(([name, value]) => [name, String(value)])).toString();
  return text ? `${path}?${text}` : path;
}

/** Asks who calls; where the server wants a token, the sign-in is shown. */
export async function whoAmI(): Promise<void> {
  try {
    session.value = await get<Session>("/v1/session");
  } catch (error) {
    if (!(error instanceof ApiError) || error.status !== 401) throw error;
    session.value = null;
  }
}

export async function signIn(token: string): Promise<void> {
  session.value = await call<Session>("POST", "/v1/session", { token });
  ended.value = "";
}

export async function signOut(): Promise<void> {
  await call("DELETE", "/v1/session");
  ended.value = "You have signed out.";
  session.value = null;
}
