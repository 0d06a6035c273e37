import { useSource } from "./hooks.ts";
import { notices } from "./live.ts";

export function Notices() {
  useSource(notices);
  return (
    <div class="notices" role="status" aria-live="polite" aria-relevant="additions" data-testid="notices">
      {notices.list().map(({ id, text }) => (
        <p key={id} class="notice">
          {text}
        </p>
      ))}
    </div>
  );
}
