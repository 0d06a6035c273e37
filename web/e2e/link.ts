import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

/** A link to a server that goes wrong as a test wants it: internal/faultproxy, told what to do line by line. */
export interface Link {
  readonly url: string;
  /** Each resolves when the fault is in force: see internal/faultproxy/faultlink. */
  fault(line: string): Promise<void>;
  /** Resolves once the message that was to be dropped is lost. */
  lost(): Promise<void>;
  close(): void;
}

export async function linkTo(server: string): Promise<Link> {
  const child = spawn("go", ["run", "./internal/faultproxy/faultlink", `127.0.0.1:${new URL(server).port}`], {
    cwd: fileURLToPath(new URL("../..", import.meta.url)),
    stdio: ["pipe", "pipe", "inherit"],
  });
  const said = createInterface(child.stdout);
  const waiting: Record<string, ((line: string) => void)[]> = { ok: [], lost: [], address: [] };
  said.on("line", (line) => waiting[line in waiting ? line : "address"]?.shift()?.(line));
  const hear = (what: string) => new Promise<string>((resolve) => waiting[what]?.push(resolve));
  const failed = new Promise<never>((_, reject) => {
    child.once("error", reject);
    child.once("exit", (code) => reject(new Error(`the link has ended with ${code}`)));
  });
  failed.catch(() => {}); // it ends one day
  const address = await Promise.race([hear("address"), failed]);
  return {
    url: `http://localhost:${new URL(`http://${address}`).port}`,
    async fault(line) {
      const obeyed = hear("ok");
      child.stdin.write(`${line}\n`);
      await Promise.race([obeyed, failed]);
    },
    async lost() {
      await Promise.race([hear("lost"), failed]);
    },
    close: () => child.stdin.end(),
  };
}
