import { useRef, useState } from "preact/hooks";
import { duration } from "./duration.ts";
import { useHeadingFocus } from "./hooks.ts";
import { trimmed } from "./input.ts";
import { Lobby, Problem, useTask } from "./parts.tsx";
import { keyFromInput } from "./place.ts";
import { texts } from "./texts.ts";

interface StartProps {
  /** The key that was asked for, and why it led nowhere. */
  typed: string;
  error: string;
  /** `keepS`: for how many seconds the chat is kept after everyone has left. */
  create(name: string, keepS: number): Promise<void>;
  open(key: string): Promise<void>;
}

export function Start({ typed, error, create, open }: StartProps) {
  const heading = useHeadingFocus();
  return (
    <Lobby>
      <div class="hero">
        <h1 ref={heading} tabIndex={-1}>
          {texts.tagline}
        </h1>
        <p>{texts.explanation}</p>
      </div>
      <div class="choices">
        <NewMeeting create={create} />
        <JoinWithKey typed={typed} error={error} open={open} />
      </div>
    </Lobby>
  );
}

const day = 86_400;
const keepDays = [1, 7, 30];

function NewMeeting({ create }: Pick<StartProps, "create">) {
  const [name, setName] = useState("");
  const [keepS, setKeepS] = useState(0);
  const task = useTask();
  return (
    <form
      class="card"
      onSubmit={(event) => {
        event.preventDefault();
        void task.run(() => create(trimmed(name), keepS));
      }}
    >
      <h2>{texts.newMeeting}</h2>
      <p class="hint">{texts.newMeetingHint}</p>
      <label class="field">
        <span>{texts.meetingName}</span>
        <input
          value={name}
          maxLength={64}
          autoComplete="off"
          data-testid="meeting-name"
          onInput={(event) => setName(event.currentTarget.value)}
        />
      </label>
      <label class="field">
        <span>{texts.keepChat}</span>
        <select
          value={keepS}
          data-testid="keep-chat"
          onChange={(event) => setKeepS(Number(event.currentTarget.value))}
        >
          <option value={0}>{texts.keepNot}</option>
          {keepDays.map((days) => (
            <option key={days} value={days * day}>
              {duration(days * day)}
            </option>
          ))}
        </select>
      </label>
      <Problem id="create-problem" code={task.error} />
      <button type="submit" class="primary" aria-busy={task.busy} data-testid="create">
        {task.busy ? texts.creating : texts.create}
      </button>
    </form>
  );
}

function JoinWithKey({ typed, error, open }: Pick<StartProps, "typed" | "error" | "open">) {
  const [key, setKey] = useState(typed);
  const field = useRef<HTMLInputElement>(null);
  const task = useTask(error);
  return (
    <form
      class="card"
      onSubmit={(event) => {
        event.preventDefault();
        const wanted = keyFromInput(key);
        if (wanted === "") field.current?.focus();
        else void task.run(() => open(wanted));
      }}
    >
      <h2>{texts.joinWithKey}</h2>
      <p class="hint">{texts.joinWithKeyHint}</p>
      <label class="field">
        <span>{texts.key}</span>
        <input
          ref={field}
          value={key}
          autoComplete="off"
          autoCapitalize="off"
          spellcheck={false}
          aria-invalid={task.error !== ""}
          aria-describedby="key-problem"
          data-testid="key"
          onInput={(event) => setKey(event.currentTarget.value)}
        />
      </label>
      <Problem id="key-problem" code={task.error} />
      <button type="submit" class="secondary" aria-busy={task.busy} data-testid="open">
        {task.busy ? texts.checking : texts.next}
      </button>
    </form>
  );
}
