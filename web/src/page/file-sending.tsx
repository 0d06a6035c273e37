import { useRef } from "preact/hooks";
import { useSource } from "./hooks.ts";
import { ClipIcon, CloseIcon } from "./icons.tsx";
import { Progress } from "./progress.tsx";
import type { Sharing } from "./sharing.ts";
import { texts } from "./texts.ts";

export function AttachButton({ disabled, take }: { disabled: boolean; take(files: File[]): void }) {
  const field = useRef<HTMLInputElement>(null);
  return (
    <>
      <button
        type="button"
        class="quiet icon-button attach"
        aria-label={texts.files.attach}
        title={texts.files.attach}
        data-testid="attach"
        disabled={disabled}
        onClick={() => field.current?.click()}
      >
        <ClipIcon />
      </button>
      <input
        ref={field}
        type="file"
        multiple
        hidden
        data-testid="file-input"
        onChange={({ currentTarget }) => {
          take([...(currentTarget.files ?? [])]);
          currentTarget.value = ""; // so that the same file can be chosen again
        }}
      />
    </>
  );
}

/** Files that are read for their checksum before they are offered. */
export function PreparingList({ sharing }: { sharing: Sharing }) {
  useSource(sharing);
  const list = sharing.preparing();
  if (list.length === 0) return null;
  return (
    <ul class="preparing">
      {list.map(({ key, name, done, total, cancel }) => (
        <li key={key}>
          <Progress label={texts.files.preparing(name)} done={done} total={total} shown={name} />
          <button
            type="button"
            class="quiet icon-button"
            aria-label={`${texts.files.cancel}: ${name}`}
            onClick={cancel}
          >
            <CloseIcon />
          </button>
        </li>
      ))}
    </ul>
  );
}
