import { useEffect, useRef, useState } from "preact/hooks";
import { codeOf } from "../mesh/errors.ts";

/** What the page does when the session has ended. */
export type Expired = () => void;

/** Does work, one after the other; keeps the code of what went wrong, unless it is the session's end. */
export function useWork(expired: Expired) {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState("");
  const gone = useRef(false);
  useEffect(
    () => () => {
      gone.current = true;
    },
    [],
  );
  async function run(work: () => Promise<void>): Promise<void> {
    setBusy(true);
    setError("");
    try {
      await work();
    } catch (failure) {
      const code = codeOf(failure);
      if (code === "internal") console.error(failure);
      if (code === "unauthorized") return expired();
      if (!gone.current) setError(code);
    }
    if (!gone.current) setBusy(false);
  }
  return { busy, error, run };
}
