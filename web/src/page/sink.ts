/**
 * Where a file goes that is received: small ones into memory, large ones straight to a place on the disk that the
 * user chooses. Not every browser lets a page do that. Where it does not, memory is the limit.
 */
import { type Arrival, createArrival } from "../mesh/arrival.ts";

type Picker = (options: { suggestedName: string }) => Promise<FileSystemFileHandle>;

const picker = () => (globalThis as { showSaveFilePicker?: Picker }).showSaveFilePicker;

/** Up to this it is faster, and asks nobody where to. */
const smallBytes = 16e6;
const writeAtOnce = 1 << 20;
/** What a page may put into memory without the browser ending it, on a phone too. */
export const memoryBytes = 500e6;

export interface Sink {
  arrival: Arrival;
  /** All has arrived, and it is right. */
  keep(): Promise<void>;
  discard(): void;
  onDisk: boolean;
}

export const fits = (size: number) => size <= memoryBytes || picker() !== undefined;

/** To be called while a press of the user counts. Null if they chose no place. */
export async function openSink(name: string, size: number): Promise<Sink | null> {
  const pick = picker();
  if (size <= smallBytes || !pick) {
    return { arrival: createArrival(), keep: async () => {}, discard() {}, onDisk: false };
  }
  let file: FileSystemWritableFileStream;
  try {
    const handle = await pick.call(globalThis, { suggestedName: name });
    file = await handle.createWritable();
  } catch (error) {
    if ((error as DOMException).name === "AbortError") return null;
    throw error;
  }
  // Each write costs a way through the browser's processes.
  let loose: Uint8Array<ArrayBuffer>[] = [];
  let looseBytes = 0;
  async function flush(): Promise<void> {
    const all = new Blob(loose);
    loose = [];
    looseBytes = 0;
    await file.write(all);
  }
  return {
    arrival: createArrival(async (bytes) => {
      loose.push(bytes);
      looseBytes += bytes.length;
      if (looseBytes >= writeAtOnce) await flush();
    }),
    async keep() {
      await flush();
      await file.close();
    },
    // The browser writes beside the place, and only close() puts it there.
    discard: () => void file.abort().catch(() => {}),
    onDisk: true,
  };
}
