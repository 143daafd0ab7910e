// Data of a page: read when it is shown, and every so often while somebody looks.

import { useEffect, useRef, useState } from "preact/hooks";
import { ApiError, get } from "../api";
import { changed } from "../live";

// Of the time between two reads: how old an answer may be that another page got.
const SHARED = 0.75;

const withMaxAge = (path: string, maxAge: number): string =>
  `${path}${path.includes("?") ? "&" : "?"}max_age_ms=${maxAge}`;

export interface Polled<T> {
  data: T | null;
  error: ApiError | null;
  reload: () => void;
}

/**
 * Reads `path` now and every `everyMs` (0: once). What was read last stays when a later read fails.
 *
 * `share`: an answer that the server made for another page will do, as long as it is as fresh as our own would
 * be on average; after a change of our own it is asked for what is true now.
 */
export function usePoll<T>(path: string | null, everyMs: number, onChange = false, share = false): Polled<T> {
  const [state, setState] = useState<{ path: string | null; data: T | null; error: ApiError | null }>({
    path,
    data: null,
    error: null,
  });
  const [turn, setTurn] = useState(0);
  const running = useRef(false);
  const fresh = useRef(false);
  const change = onChange ? changed.value : 0;

  useEffect(() => {
    if (path === null) return;
    const aborter = new AbortController();
    const read = async () => {
      if (running.current || document.hidden) return;
      running.current = true;
      try {
        const maxAge = fresh.current ? 0 : Math.round(everyMs * SHARED);
        const data = await get<T>(share ? withMaxAge(path, maxAge) : path, aborter.signal);
        fresh.current = false;
        setState({ path, data, error: null });
      } catch (error) {
        if (error instanceof ApiError) {
          setState((before) => ({ path, data: before.path === path ? before.data : null, error }));
        }
      } finally {
        running.current = false;
      }
    };
    void read();
    const timer = everyMs ? setInterval(() => void read(), everyMs) : undefined;
    const onVisible = () => void read();
    document.addEventListener("visibilitychange", onVisible);
    return () => {
      aborter.abort();
      running.current = false;
      clearInterval(timer);
      document.removeEventListener("visibilitychange", onVisible);
    };
  }, [path, everyMs, turn, change]);

  const current = state.path === path;
  return {
    data: current ? state.data : null,
    error: current ? state.error : null,
    reload: () => {
      fresh.current = true;
      setTurn((before) => before + 1);
    },
  };
}
