import { useLayoutEffect, useRef } from "preact/hooks";

/** What a key does, by the letter. */
export type Shortcuts = Record<string, () => void>;

/** Runs them, but not while someone types, and not with Ctrl, Alt or the like, which are the browser's. */
export function useShortcuts(shortcuts: Shortcuts): void {
  const latest = useRef(shortcuts);
  latest.current = shortcuts;
  // Before the first picture of the meeting, so that no key is lost that is pressed at once.
  useLayoutEffect(() => {
    function press(event: KeyboardEvent): void {
      if (event.ctrlKey || event.altKey || event.metaKey || event.repeat) return;
      const typing = event.target instanceof Element && event.target.closest("input, textarea, select");
      if (typing && event.key !== "Escape") return;
      const act = latest.current[event.key.length === 1 ? event.key.toLowerCase() : event.key];
      if (!act) return;
      event.preventDefault();
      act();
    }
    addEventListener("keydown", press);
    return () => removeEventListener("keydown", press);
  }, []);
}
