import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import type { Incoming } from "../mesh/calls.ts";
import { codeOf } from "../mesh/errors.ts";
import { useSource } from "./hooks.ts";
import { PhoneIcon } from "./icons.tsx";
import { notices } from "./live.ts";
import { phone } from "./phone.ts";
import { notify, startRingtone } from "./ringtone.ts";
import { sentence, texts } from "./texts.ts";
import { blinkTitle } from "./title.ts";

/** Who rings, on every view; and, when it is over without us, why. */
export function Ringing({ join }: { join(key: string): Promise<void> }) {
  useSource(phone);
  useEffect(
    () => phone.on("missed", ({ call, outcome }) => notices.say(texts.ring.missed[outcome](call.from.name))),
    [],
  );
  const call = phone.ringing();
  if (!call) return null;
  async function accept(call: Incoming): Promise<void> {
    try {
      await phone.answer(call, "accept");
    } catch (error) {
      notices.say(codeOf(error) === "peer_gone" ? texts.ring.tooLate : sentence(codeOf(error)));
      return;
    }
    await join(call.meetingId);
  }
  const decline = (call: Incoming) => void phone.answer(call, "reject").catch(() => {}); // it is over anyway
  return (
    <Dialog key={call.callId} call={call} accept={() => void accept(call)} decline={() => decline(call)} />
  );
}

interface DialogProps {
  call: Incoming;
  accept(): void;
  decline(): void;
}

/**
 * The focus goes to the dialog, not to a button: who is typing must not answer with the next key. Escape declines,
 * as it closes other dialogs.
 */
function Dialog({ call, accept, decline }: DialogProps) {
  const dialog = useRef<HTMLDialogElement>(null);
  const { from, forMs, until } = call;
  const [gone] = useState(() => forMs - (until - performance.now()));
  const calls = texts.ring.calls(from.name);
  useLayoutEffect(() => {
    const before = document.activeElement;
    dialog.current?.showModal();
    dialog.current?.focus();
    return () => {
      if (before instanceof HTMLElement && before.isConnected) before.focus();
    };
  }, []);
  useEffect(() => startRingtone(), []);
  useEffect(() => blinkTitle(calls), [calls]);
  useEffect(() => notify(calls, call.callId), []);
  return (
    <dialog
      ref={dialog}
      class="ring"
      role="alertdialog"
      tabIndex={-1}
      aria-labelledby="ring-who"
      aria-describedby="ring-hint"
      data-testid="ring"
      onCancel={(event) => {
        event.preventDefault();
        decline();
      }}
    >
      <span class="ring-icon">
        <PhoneIcon />
      </span>
      <h2 id="ring-who" dir="auto">
        {calls}
      </h2>
      {from.sub !== from.name && (
        <p class="hint" dir="auto">
          {from.sub}
        </p>
      )}
      <p id="ring-hint" class="hint">
        {texts.ring.hint}
      </p>
      <div class="ring-time" aria-hidden="true">
        <span style={{ "--ring-for": `${forMs}ms`, "--ring-gone": `-${Math.round(gone)}ms` }} />
      </div>
      <div class="ring-answers">
        <button type="button" class="decline" data-testid="decline" onClick={decline}>
          {texts.ring.decline}
        </button>
        <button type="button" class="primary" data-testid="accept" onClick={accept}>
          {texts.ring.accept}
        </button>
      </div>
    </dialog>
  );
}
