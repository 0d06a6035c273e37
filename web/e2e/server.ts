import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** A real signald on a free loopback port, with a database of its own. */
export interface Server {
  readonly url: string;
  /** From the address, if the server trusts us to say one. */
  createMeeting(name?: string, from?: string): Promise<string>;
  /** A join token for any meeting, as an application makes it for who has signed in there. */
  token(sub: string, name?: string): string;
  /** Kills the process without warning; start() brings it back on the same port and database. */
  kill(): Promise<void>;
  start(): Promise<void>;
  stop(): Promise<void>;
}

let creators = 0;

const binary = process.env.SIGNALD_BIN ?? fileURLToPath(new URL("../../bin/signald", import.meta.url));

const tokenKeys = { SIGNALD_TOKEN_KEYS: `test:HS256:${Buffer.alloc(32, "e2e").toString("base64")}` };

/** With more settings, if there are any. */
export async function startServer(settings: Record<string, string> = {}): Promise<Server> {
  const port = await freePort();
  const folder = mkdtempSync(join(tmpdir(), "signald-e2e-"));
  const url = `http://localhost:${port}`;
  let child: ChildProcess | undefined;

  async function start(): Promise<void> {
    const started = spawn(binary, ["serve"], {
      stdio: ["ignore", "ignore", "inherit"],
      env: {
        PATH: process.env.PATH,
        SIGNALD_LISTEN: `127.0.0.1:${port}`,
        SIGNALD_TLS: "off",
        SIGNALD_DATABASE_URL: `sqlite:${join(folder, "signald.db")}`,
        SIGNALD_LOG_LEVEL: "warn",
        ...tokenKeys,
        ...settings,
      },
    });
    child = started;
    const failed = new Promise<never>((_, reject) => {
      started.once("error", reject);
      started.once("exit", (code) => reject(new Error(`${binary} ended with ${code}`)));
    });
    failed.catch(() => {}); // it ends one day, and by then nobody waits
    await Promise.race([answers(`http://127.0.0.1:${port}/readyz`), failed]);
  }

  async function end(signal: NodeJS.Signals): Promise<void> {
    const ending = child;
    child = undefined;
    if (!ending || ending.exitCode !== null) return;
    const gone = new Promise((resolve) => ending.once("exit", resolve));
    ending.kill(signal);
    await gone;
  }

  await start();
  return {
    url,
    start,
    token(sub, name) {
      const args = ["token", "--sub", sub, "--meeting", "*", ...(name ? ["--name", name] : [])];
      return execFileSync(binary, args, { env: { ...process.env, ...tokenKeys }, encoding: "utf8" }).trim();
    },
    kill: () => end("SIGKILL"),
    async stop() {
      await end("SIGTERM");
      rmSync(folder, { recursive: true, force: true });
    },
    // From an address of its own each, where that is believed: one address creates 60 at once.
    async createMeeting(name, from = `198.18.${creators >> 8}.${creators++ & 255}`) {
      const response = await fetch(`http://127.0.0.1:${port}/api/v1/meetings`, {
        method: "POST",
        headers: { "Content-Type": "application/json", "X-Forwarded-For": from },
        body: JSON.stringify(name === undefined ? {} : { name }),
      });
      if (response.status !== 201) throw new Error(`no meeting: ${response.status} ${await response.text()}`);
      return ((await response.json()) as { meeting_id: string }).meeting_id;
    },
  };
}

async function answers(url: string): Promise<void> {
  const until = Date.now() + 15_000;
  for (;;) {
    const ok = await fetch(url).then(
      (response) => response.ok,
      () => false,
    );
    if (ok) return;
    if (Date.now() > until) throw new Error(`${url} does not answer`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once("error", reject);
    probe.listen(0, "127.0.0.1", () => {
      const address = probe.address();
      const port = typeof address === "object" && address ? address.port : 0;
      probe.close(() => resolve(port));
    });
  });
}
