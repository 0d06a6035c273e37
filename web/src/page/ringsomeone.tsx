import { useRef, useState } from "preact/hooks";
import type { Calls, Outgoing } from "../mesh/calls.ts";
import { useSource } from "./hooks.ts";
import { identity } from "./identity.ts";
import { trimmed } from "./input.ts";
import { rememberRung, rungBefore } from "./storage.ts";
import { newsOf, texts } from "./texts.ts";

/** Rings others into the meeting, by the name that the application knows them by. */
export function RingSomeone({ calls }: { calls: Calls }) {
  useSource(calls);
  const [sub, setSub] = useState("");
  const [problem, setProblem] = useState("");
  const field = useRef<HTMLInputElement>(null);
  const self = identity.claims()?.sub;
  function submit(event: Event): void {
    event.preventDefault();
    const wanted = trimmed(sub);
    field.current?.focus();
    setProblem(wanted === self ? texts.ring.thatIsYou : "");
    if (wanted === "" || wanted === self) return;
    rememberRung(wanted);
    calls.ring(wanted);
    setSub("");
  }
  return (
    <details class="host" data-testid="ring-someone">
      <summary>{texts.ring.someone}</summary>
      <div class="host-body">
        <form class="password" onSubmit={submit}>
          <label class="field">
            <span>{texts.ring.whom}</span>
            <input
              ref={field}
              value={sub}
              maxLength={64}
              list="rung-before"
              autoComplete="off"
              autoCapitalize="off"
              spellcheck={false}
              aria-describedby="ring-problem ring-whom"
              data-testid="ring-sub"
              onInput={(event) => setSub(event.currentTarget.value)}
            />
          </label>
          <datalist id="rung-before">
            {rungBefore().map((sub) => (
              <option key={sub} value={sub} />
            ))}
          </datalist>
          <button type="submit" class="secondary small" data-testid="ring-them">
            {texts.ring.ring}
          </button>
        </form>
        <p id="ring-whom" class="hint">
          {texts.ring.whomHint}
        </p>
        <p id="ring-problem" class="problem" role="alert">
          {problem}
        </p>
        <ul class="rung">
          {calls.outgoing().map((ring) => (
            <Rung key={ring.id} ring={ring} cancel={() => calls.cancel(ring.id)} />
          ))}
        </ul>
      </div>
    </details>
  );
}

function Rung({ ring, cancel }: { ring: Outgoing; cancel(): void }) {
  const going = ring.state === "calling" || ring.state === "ringing";
  return (
    <li data-testid="rung" data-state={ring.state}>
      <span dir="auto">{newsOf(ring)}</span>
      {going && (
        <button
          type="button"
          class="quiet small"
          aria-label={texts.ring.cancelOf(ring.sub)}
          data-testid="ring-cancel"
          onClick={cancel}
        >
          {texts.ring.cancel}
        </button>
      )}
    </li>
  );
}
