/** What has arrived of a file so far: in order, summed up, and kept when a transfer breaks off. */
import { FileError } from "./errors.ts";
import { createSha256 } from "./sha256.ts";

export interface Arrival {
  /** Bytes. */
  done(): number;
  take(bytes: Uint8Array<ArrayBuffer>): Promise<void>;
  /** The whole, once all is there; without content if it was written elsewhere. Rejects what is not what was offered. */
  finish(sha256: string, type: string): Blob;
}

/** Small pieces are put together at this size: the browser keeps large ones on disk when memory is short. */
const fold = 4 << 20;

/** `write`: where the bytes go, in order; left out: into the Blob at the end. */
export function createArrival(write?: (bytes: Uint8Array<ArrayBuffer>) => void | Promise<void>): Arrival {
  const sum = createSha256();
  const folded: Blob[] = [];
  let loose: Uint8Array<ArrayBuffer>[] = [];
  let looseBytes = 0;
  let done = 0;

  function keep(bytes: Uint8Array<ArrayBuffer>): void {
    loose.push(bytes);
    looseBytes += bytes.length;
    if (looseBytes < fold) return;
    folded.push(new Blob(loose));
    loose = [];
    looseBytes = 0;
  }

  return {
    done: () => done,

    async take(bytes) {
      if (write) {
        try {
          await write(bytes);
        } catch (cause) {
          throw new FileError("unwritable", { cause });
        }
      } else {
        keep(bytes);
      }
      // Not before: what could not be written is asked for again.
      sum.update(bytes);
      done += bytes.length;
    },

    finish(sha256, type) {
      if (sum.digest() !== sha256) throw new FileError("checksum");
      return new Blob([...folded, ...loose], { type });
    },
  };
}
