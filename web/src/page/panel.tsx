import type { ComponentChildren } from "preact";
import { useHeadingFocus } from "./hooks.ts";
import { CloseIcon } from "./icons.tsx";
import { texts } from "./texts.ts";

/** What stands beside the meeting, or on a phone in front of it. */
export function Panel(props: { title: string; testid: string; close(): void; children: ComponentChildren }) {
  const heading = useHeadingFocus();
  return (
    <aside class="panel" aria-label={props.title} data-testid={props.testid}>
      <div class="panel-head">
        <h2 ref={heading} tabIndex={-1}>
          {props.title}
        </h2>
        <button
          type="button"
          class="quiet icon-button"
          aria-label={texts.close}
          data-testid="close-panel"
          onClick={props.close}
        >
          <CloseIcon />
        </button>
      </div>
      <div class="panel-body">{props.children}</div>
    </aside>
  );
}
