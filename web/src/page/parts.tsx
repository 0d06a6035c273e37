import type { ComponentChildren } from "preact";
import { useRef, useState } from "preact/hooks";
import { codeOf } from "../mesh/errors.ts";
import { Mark } from "./icons.tsx";
import { notices } from "./live.ts";
import { Preferences } from "./settings.tsx";
import { SignedIn } from "./signedin.tsx";
import { sentence, texts } from "./texts.ts";

export function Brand() {
  return (
    <p class="brand">
      <Mark />
      signald
    </p>
  );
}

/** The frame of every view outside a meeting. */
export function Lobby({ children }: { children: ComponentChildren }) {
  return (
    <div class="lobby">
      <header>
        <Brand />
        <div class="preferences">
          <Preferences />
        </div>
      </header>
      <SignedIn />
      <main>{children}</main>
    </div>
  );
}

/** Runs one piece of work at a time and keeps the code of what went wrong. */
export function useTask(initial = "") {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState(initial);
  const running = useRef(false);
  async function run(work: () => Promise<void>): Promise<void> {
    if (running.current) return;
    running.current = true;
    setBusy(true);
    setError("");
    try {
      await work();
    } catch (failure) {
      if (codeOf(failure) === "internal") console.error(failure);
      setError(codeOf(failure));
    }
    running.current = false;
    setBusy(false);
  }
  return { busy, error, run, setError };
}

export function Problem({ id, code }: { id: string; code: string }) {
  return (
    <p id={id} class="problem" role="alert" data-testid="error" data-code={code}>
      {code === "" ? "" : sentence(code)}
    </p>
  );
}

/** A value to be copied, and the button that does it. */
export function Copyable({ label, value, testid }: { label: string; value: string; testid: string }) {
  const field = useRef<HTMLInputElement>(null);
  return (
    <label class="field">
      <span>{label}</span>
      <span class="copyable">
        <input
          ref={field}
          readOnly
          value={value}
          data-testid={testid}
          onFocus={() => field.current?.select()}
        />
        <CopyButton value={value} label={`${texts.copy}: ${label}`} class="quiet">
          {texts.copy}
        </CopyButton>
      </span>
    </label>
  );
}

export function CopyButton(props: {
  value: string;
  label?: string;
  class: string;
  children: ComponentChildren;
}) {
  async function copy(): Promise<void> {
    try {
      await navigator.clipboard.writeText(props.value);
      notices.say(texts.copied);
    } catch {
      notices.say(texts.copyFailed);
    }
  }
  return (
    <button
      type="button"
      class={props.class}
      {...(props.label ? { "aria-label": props.label } : {})}
      onClick={() => void copy()}
    >
      {props.children}
    </button>
  );
}
