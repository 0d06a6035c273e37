/** The files that we offer: being made ready, and fetched by others. */
import { FileError } from "../mesh/errors.ts";
import { createEvents, type Events } from "../mesh/events.ts";
import { fileOf } from "../mesh/files.ts";
import type { Mesh } from "../mesh/mesh.ts";
import type { Conversation } from "./conversation.ts";
import { safeName } from "./file-names.ts";
import { notices } from "./live.ts";
import { paced } from "./pace.ts";
import { createMeter } from "./sizes.ts";
import { texts } from "./texts.ts";

/** Read for its checksum, before it is offered. */
export interface Preparing {
  key: number;
  name: string;
  done: number;
  total: number;
  cancel(): void;
}

/** Somebody who fetches, or has fetched. */
export interface Reader {
  peerId: string;
  /** Theirs when it began: by now they may be gone. */
  name: string;
  done: number;
  total: number;
  /** Bytes a second. */
  rate: number;
  open: boolean;
}

export interface Sharing {
  readonly on: Events<{ change: undefined }>["on"];
  preparing(): Preparing[];
  readers(id: string): Reader[];
  /** Whether others can fetch it from this page. */
  shares(id: string): boolean;
  /** To all, or to whom `to` names. */
  offer(files: File[], to: string): Promise<void>;
  stop(id: string): void;
  close(): void;
}

export function createSharing(mesh: Mesh, conversation: Conversation): Sharing {
  const events = createEvents<{ change: undefined }>();
  const readers = new Map<string, Map<string, Reader & { meter(done: number): number }>>();
  let preparing: (Preparing & { stop: AbortController })[] = [];
  let keys = 0;
  let closed = false;
  const changed = () => events.emit("change", undefined);
  const progressed = paced(changed);

  const nameOf = (peerId: string) =>
    mesh.view().peers.find(({ info }) => info.peer_id === peerId)?.info.name ?? texts.someone;

  function stop(id: string): void {
    mesh.files.unshare(id);
    changed();
  }

  async function offerOne(file: File, to: string): Promise<void> {
    const name = safeName(file.name);
    const stop = new AbortController();
    const entry = { key: keys++, name, done: 0, total: file.size, stop, cancel: () => stop.abort() };
    preparing = [...preparing, entry];
    changed();
    try {
      const offer = await mesh.files.share(file, name, {
        signal: stop.signal,
        onProgress(done) {
          entry.done = done;
          progressed();
        },
      });
      // A type is of some words, or it is not one.
      const type = /^[\w.+/-]{1,100}$/.test(offer.type) ? offer.type : "";
      if (closed || stop.signal.aborted) mesh.files.unshare(offer.id);
      else conversation.say(name, to, { file: { ...offer, type } });
    } catch (error) {
      if (!(error instanceof FileError)) notices.say(texts.files.unreadable(name));
    } finally {
      preparing = preparing.filter((other) => other !== entry);
      changed();
    }
  }

  const listening = [
    mesh.on("sending", ({ peerId, id, done, total, open }) => {
      const all = readers.get(id) ?? new Map();
      readers.set(id, all);
      const before = all.get(peerId);
      const meter = before?.open ? before.meter : createMeter();
      const name = before?.name ?? nameOf(peerId);
      all.set(peerId, { peerId, name, done, total, open, meter, rate: meter(done) });
      if (done === total && !open) notices.say(texts.files.fetched(name));
      if (open) progressed();
      else changed();
    }),
    conversation.on("change", () => {
      for (const line of conversation.lines()) {
        const offer = line.own && (line.revoked || typeof line.state === "object") ? fileOf(line.meta) : null;
        if (offer && mesh.files.shares(offer.id)) stop(offer.id);
      }
    }),
  ];

  return {
    on: events.on,
    preparing: () => preparing,
    readers: (id) => [...(readers.get(id)?.values() ?? [])],
    shares: (id) => mesh.files.shares(id),

    async offer(files, to) {
      // One after the other: they are read from the same disk, and keep the order they were given in.
      for (const file of files) if (!closed) await offerOne(file, to);
    },

    stop,

    close() {
      closed = true;
      for (const { cancel } of preparing) cancel();
      for (const end of listening) end();
    },
  };
}
