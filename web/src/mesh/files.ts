/**
 * Files from one participant to another, over data channels of the connection that they have anyway. The
 * server carries the offer alone: it is the `meta` of a chat message, `{file: FileOffer}`.
 *
 * Whoever wants the file opens a channel whose label says what and from where, `file:<id>:<offset>`; whoever
 * offered it sends the bytes from there on. A transfer that breaks off is asked for again from where it was.
 */
import { createSha256 } from "./sha256.ts";

export interface FileOffer {
  id: string;
  name: string;
  size: number;
  type: string;
  /** In hex. */
  sha256: string;
}

/** What is used of an RTCDataChannel. */
export type Channel = Pick<
  RTCDataChannel,
  | "label"
  | "readyState"
  | "binaryType"
  | "bufferedAmount"
  | "bufferedAmountLowThreshold"
  | "onopen"
  | "onclose"
  | "onmessage"
  | "onbufferedamountlow"
  | "send"
  | "close"
>;

export type FileFailure = "gone" | "broken" | "checksum" | "malformed" | "aborted";

export class FileError extends Error {
  constructor(readonly code: FileFailure) {
    super(code);
    this.name = "FileError";
  }
}

export interface FetchOptions {
  onProgress?(done: number, total: number): void;
  /** Where the bytes go, in order; left out: into the Blob that is returned. */
  write?(bytes: Uint8Array): void | Promise<void>;
  signal?: AbortSignal;
}

export interface Files {
  /** Reads the file once, for its checksum, and has it ready. The offer is for `chat.send(name, {meta: {file}})`. */
  share(file: Blob, name: string, onProgress?: (done: number, total: number) => void): Promise<FileOffer>;
  unshare(id: string): void;
  fetch(peerId: string, offer: FileOffer, options?: FetchOptions): Promise<Blob>;
  /** A channel that another participant has opened. True if it was one of ours. */
  accept(channel: Channel, onProgress?: (id: string, done: number, total: number) => void): boolean;
}

export interface FilesOptions {
  /** A new channel to a participant; null while there is no connection to it. */
  open(peerId: string, label: string): Channel | null;
  /** Whether the participant is still in the meeting. */
  present(peerId: string): boolean;
}

export const fileTiming = {
  /** Between a channel that broke and the next. */
  retryMs: 1_000,
  /** So many in a row without a byte, and it is given up. */
  tries: 30,
  /** A channel that brings nothing for so long is broken. */
  silenceMs: 15_000,
} as const;

/** What every browser takes in one message. */
const chunk = 16 << 10;
const readAtOnce = 1 << 20;
const high = 1 << 20;
const low = 256 << 10;

/** The offer in a chat message's meta, if there is one that makes sense. */
export function fileOf(meta: unknown): FileOffer | null {
  const file = (meta as { file?: unknown } | null | undefined)?.file as Partial<FileOffer> | undefined;
  const { id, name, size, type, sha256 } = file ?? {};
  const fine =
    typeof id === "string" &&
    /^[\w-]{1,64}$/.test(id) &&
    typeof name === "string" &&
    typeof size === "number" &&
    Number.isSafeInteger(size) &&
    size >= 0 &&
    typeof type === "string" &&
    typeof sha256 === "string" &&
    /^[0-9a-f]{64}$/.test(sha256);
  return fine ? { id, name, size, type, sha256 } : null;
}

export function createFiles(options: FilesOptions): Files {
  const shared = new Map<string, Blob>();

  async function send(
    channel: Channel,
    file: Blob,
    offset: number,
    progress: (done: number) => void,
  ): Promise<void> {
    channel.bufferedAmountLowThreshold = low;
    const open = () => channel.readyState === "open";
    for (let at = offset; at < file.size && open(); ) {
      const part = new Uint8Array(await file.slice(at, at + readAtOnce).arrayBuffer());
      for (let i = 0; i < part.length && open(); i += chunk) {
        if (channel.bufferedAmount > high) await drained(channel);
        if (!open()) return;
        channel.send(part.subarray(i, i + chunk));
      }
      at += part.length;
      progress(at);
    }
    // Whoever receives closes it, when everything is there.
  }

  /** One channel's worth: what comes goes to `take`, in order, until it has all or the channel ends. */
  function receive(
    channel: Channel,
    take: (bytes: Uint8Array) => Promise<boolean>,
    signal?: AbortSignal,
  ): Promise<void> {
    return new Promise((resolve, reject) => {
      let work = Promise.resolve();
      let over = false;
      let silence: ReturnType<typeof setTimeout> | undefined;
      const finish = (error?: unknown) => {
        if (over) return;
        over = true;
        clearTimeout(silence);
        signal?.removeEventListener("abort", aborted);
        channel.onmessage = channel.onclose = null;
        channel.close();
        // What has arrived counts, also of a channel that broke.
        if (error) reject(error);
        else void work.then(resolve, reject);
      };
      const aborted = () => finish(new FileError("aborted"));
      const listen = () => {
        clearTimeout(silence);
        silence = setTimeout(() => finish(), fileTiming.silenceMs);
      };
      signal?.addEventListener("abort", aborted);
      channel.binaryType = "arraybuffer";
      channel.onmessage = ({ data }) => {
        listen();
        if (!(data instanceof ArrayBuffer)) {
          finish(new FileError("malformed"));
          return;
        }
        work = work.then(async () => {
          if (await take(new Uint8Array(data))) finish();
        });
        work.catch(finish);
      };
      channel.onclose = () => finish();
      listen();
    });
  }

  return {
    async share(file, name, onProgress) {
      const sum = createSha256();
      for (let at = 0; at < file.size; at += readAtOnce) {
        sum.update(new Uint8Array(await file.slice(at, at + readAtOnce).arrayBuffer()));
        onProgress?.(Math.min(at + readAtOnce, file.size), file.size);
      }
      const id = crypto.randomUUID();
      shared.set(id, file);
      return { id, name, size: file.size, type: file.type, sha256: sum.digest() };
    },

    unshare: (id) => void shared.delete(id),

    async fetch(peerId, offer, { onProgress, write, signal } = {}) {
      const parts: Uint8Array<ArrayBuffer>[] = [];
      const sum = createSha256();
      let done = 0;
      const take = async (bytes: Uint8Array<ArrayBuffer>): Promise<boolean> => {
        if (done + bytes.length > offer.size) throw new FileError("malformed");
        sum.update(bytes);
        if (write) await write(bytes);
        else parts.push(bytes);
        done += bytes.length;
        onProgress?.(done, offer.size);
        return done === offer.size;
      };
      for (let tries = 0; done < offer.size; ) {
        if (signal?.aborted) throw new FileError("aborted");
        if (!options.present(peerId)) throw new FileError("gone");
        const before = done;
        const channel = options.open(peerId, `file:${offer.id}:${done}`);
        if (channel) await receive(channel, take as (bytes: Uint8Array) => Promise<boolean>, signal);
        if (done === offer.size) break;
        tries = done > before ? 0 : tries + 1;
        if (tries >= fileTiming.tries) throw new FileError("broken");
        await new Promise((resolve) => setTimeout(resolve, fileTiming.retryMs));
      }
      if (sum.digest() !== offer.sha256) throw new FileError("checksum");
      return new Blob(parts, { type: offer.type });
    },

    accept(channel, onProgress) {
      const [, id = "", offset = ""] = /^file:([\w-]+):(\d+)$/.exec(channel.label) ?? [];
      if (id === "") return false;
      const file = shared.get(id);
      const from = Number(offset);
      if (!file || from > file.size) {
        channel.close();
        return true;
      }
      const begin = () => {
        send(channel, file, from, (done) => onProgress?.(id, done, file.size)).catch(() => channel.close());
      };
      if (channel.readyState === "open") begin();
      else channel.onopen = begin;
      return true;
    },
  };
}

/** Resolves when the channel can take more, or has ended. */
function drained(channel: Channel): Promise<void> {
  return new Promise((resolve) => {
    const go = () => {
      channel.onbufferedamountlow = channel.onclose = null;
      resolve();
    };
    channel.onbufferedamountlow = go;
    channel.onclose = go;
  });
}
