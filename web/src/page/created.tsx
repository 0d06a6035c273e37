import type { CreatedMeeting } from "../mesh/protocol.ts";
import { useHeadingFocus } from "./hooks.ts";
import { Copyable, Lobby, Problem, useTask } from "./parts.tsx";
import { linkOf } from "./place.ts";
import { texts } from "./texts.ts";

export function Created({ meeting, open }: { meeting: CreatedMeeting; open(): Promise<void> }) {
  const heading = useHeadingFocus();
  const task = useTask();
  return (
    <Lobby>
      <form
        class="card narrow"
        onSubmit={(event) => {
          event.preventDefault();
          void task.run(open);
        }}
      >
        <h1 ref={heading} tabIndex={-1}>
          {texts.created}
        </h1>
        <p class="hint">{texts.createdHint}</p>
        <Copyable label={texts.key} value={meeting.meeting_id} testid="created-key" />
        <Copyable label={texts.link} value={linkOf(meeting.meeting_id)} testid="created-link" />
        <Problem id="created-problem" code={task.error} />
        <button type="submit" class="primary" aria-busy={task.busy} data-testid="to-meeting">
          {texts.toMeeting}
        </button>
      </form>
    </Lobby>
  );
}
