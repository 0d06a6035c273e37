import { useHeadingFocus } from "./hooks.ts";
import { Lobby, Problem, useTask } from "./parts.tsx";
import { sentence, texts } from "./texts.ts";

interface OverProps {
  /** Why we are out; empty if we left. */
  code: string;
  rejoin(): Promise<void>;
  start(): void;
}

export function Over({ code, rejoin, start }: OverProps) {
  const heading = useHeadingFocus();
  const task = useTask();
  return (
    <Lobby>
      <div class="card narrow" data-testid="over">
        <h1 ref={heading} tabIndex={-1}>
          {code === "" ? texts.youLeft : texts.ended}
        </h1>
        {code !== "" && <p class="hint">{sentence(code)}</p>}
        <Problem id="over-problem" code={task.error} />
        <div class="row">
          <button type="button" class="primary" data-testid="rejoin" onClick={() => void task.run(rejoin)}>
            {texts.rejoin}
          </button>
          <button type="button" class="secondary" onClick={start}>
            {texts.toStart}
          </button>
        </div>
      </div>
    </Lobby>
  );
}
