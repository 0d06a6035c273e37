import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { ClipIcon } from "./icons.tsx";
import { texts } from "./texts.ts";

interface DropTargetProps {
  /** Who gets what is dropped. */
  to: string;
  allowed: boolean;
  take(files: File[]): void;
}

/** Files may be dropped anywhere on the meeting, or pasted. While they are above it, it says what would become of them. */
export function DropTarget({ to, allowed, take }: DropTargetProps) {
  const [above, setAbove] = useState(false);
  const latest = useRef(take);
  latest.current = take;
  useLayoutEffect(() => {
    const carriesFiles = (event: DragEvent) => event.dataTransfer?.types.includes("Files") ?? false;
    function over(event: DragEvent): void {
      if (!carriesFiles(event)) return;
      event.preventDefault(); // or the browser would open the file in place of the meeting
      setAbove(true);
    }
    function leave(event: DragEvent): void {
      if (event.relatedTarget === null) setAbove(false);
    }
    function drop(event: DragEvent): void {
      if (!carriesFiles(event)) return;
      event.preventDefault();
      setAbove(false);
      give(event.dataTransfer);
    }
    function paste(event: ClipboardEvent): void {
      if (!event.clipboardData?.files.length) return;
      event.preventDefault();
      give(event.clipboardData);
    }
    function give(data: DataTransfer | null): void {
      const files = [...(data?.files ?? [])];
      if (files.length > 0) latest.current(files);
    }
    addEventListener("dragover", over);
    addEventListener("dragleave", leave);
    addEventListener("drop", drop);
    addEventListener("paste", paste);
    return () => {
      removeEventListener("dragover", over);
      removeEventListener("dragleave", leave);
      removeEventListener("drop", drop);
      removeEventListener("paste", paste);
    };
  }, []);
  if (!above) return null;
  return (
    <div class="drop-target" data-testid="drop-target">
      <p>
        <ClipIcon />
        {allowed ? texts.files.dropHere(to) : texts.chatOff}
      </p>
    </div>
  );
}
