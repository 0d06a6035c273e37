import { useReducer } from "preact/hooks";
import { useSource } from "./hooks.ts";
import { identity } from "./identity.ts";
import { phone } from "./phone.ts";
import { mayAskToNotify } from "./ringtone.ts";
import { texts } from "./texts.ts";

/** By whose name we can be rung here, and what there is to do about it. */
export function SignedIn() {
  useSource(identity);
  useSource(phone);
  const [, redraw] = useReducer<number, void>((n) => n + 1, 0);
  const claims = identity.claims();
  if (!claims) return null;
  const { sub, name } = claims;
  return (
    <div class="signed-in" data-testid="signed-in">
      <p dir="auto" role="status">
        {phone.refused()
          ? texts.ring.notSignedIn
          : texts.ring.signedIn(name === sub ? name : `${name} (${sub})`)}
      </p>
      {mayAskToNotify() && (
        <button
          type="button"
          class="quiet small"
          onClick={() => void Notification.requestPermission().then(() => redraw())}
        >
          {texts.ring.notify}
        </button>
      )}
      <button type="button" class="quiet small" data-testid="sign-out" onClick={identity.forget}>
        {texts.ring.signOut}
      </button>
    </div>
  );
}
