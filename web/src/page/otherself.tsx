import { useLayoutEffect, useRef } from "preact/hooks";
import { useSource } from "./hooks.ts";
import { type Claims, identity } from "./identity.ts";
import { texts } from "./texts.ts";

/** Asks before a link makes somebody else of who is signed in here. */
export function OtherSelf() {
  useSource(identity);
  const [self, other] = [identity.claims(), identity.offered()];
  if (!self || !other) return null;
  return <Question key={identity.token()} self={called(self)} other={called(other)} />;
}

const called = ({ sub, name }: Claims) => (name === sub ? name : `${name} (${sub})`);

/** The focus goes to the dialog, not to a button, and Escape leaves all as it is. */
function Question({ self, other }: { self: string; other: string }) {
  const dialog = useRef<HTMLDialogElement>(null);
  useLayoutEffect(() => {
    dialog.current?.showModal();
    dialog.current?.focus();
  }, []);
  return (
    <dialog
      ref={dialog}
      class="ring"
      role="alertdialog"
      tabIndex={-1}
      aria-labelledby="other-self"
      aria-describedby="other-self-hint"
      data-testid="other-self"
      onCancel={(event) => {
        event.preventDefault();
        identity.become(false);
      }}
    >
      <h2 id="other-self" dir="auto">
        {texts.ring.otherSelf(other)}
      </h2>
      <p id="other-self-hint" class="hint" dir="auto">
        {texts.ring.otherSelfHint(self)}
      </p>
      <div class="ring-answers">
        <button type="button" class="primary" data-testid="stay-self" onClick={() => identity.become(false)}>
          {texts.ring.staySelf}
        </button>
        <button
          type="button"
          class="secondary"
          data-testid="become-other"
          onClick={() => identity.become(true)}
        >
          {texts.ring.becomeOther}
        </button>
      </div>
    </dialog>
  );
}
