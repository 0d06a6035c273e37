import { createHash, randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import type { Browser, Locator, Page } from "@playwright/test";
import { violationsOf } from "./axe.ts";
import { expect, expectMesh, test as plain } from "./fixtures.ts";
import { freePort, type Server, startServer } from "./server.ts";

declare global {
  interface Window {
    /** What the bars under way have shown, by what they are for. */
    bars: Record<string, number[]>;
  }
}

/** Two cores, and others at work on them. */
const patient = { timeout: 120_000 };
const sha256 = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");

/** A server that says how many bytes it has moved. */
const test = plain.extend<object, { server: Server; moved: () => Promise<number>; metricsPort: number }>({
  metricsPort: [
    // biome-ignore lint/correctness/noEmptyPattern: Playwright reads the pattern to know what a fixture needs
    async ({}, use) => use(await freePort()),
    { scope: "worker" },
  ],
  server: [
    async ({ metricsPort }, use) => {
      const server = await startServer({ SIGNALD_METRICS_LISTEN: `127.0.0.1:${metricsPort}` });
      await use(server);
      await server.stop();
    },
    { scope: "worker" },
  ],
  moved: [
    async ({ metricsPort }, use) => {
      await use(async () => {
        const text = await (await fetch(`http://127.0.0.1:${metricsPort}/metrics`)).text();
        const values = text.matchAll(/^signald_(?:received|sent)_bytes_total(?:\{[^}]*\})? (\S+)$/gm);
        const bytes = [...values].map(([, value]) => Number(value));
        expect(bytes.length).toBeGreaterThan(1);
        return bytes.reduce((sum, value) => sum + value, 0);
      });
    },
    { scope: "worker" },
  ],
});

const card = (page: Page, name: string): Locator =>
  page.getByTestId("file").filter({ has: page.getByText(name, { exact: true }) });

const attach = (page: Page, name: string, buffer: Buffer, mimeType = "application/octet-stream") =>
  page.getByTestId("file-input").setInputFiles({ name, mimeType, buffer });

/** Presses Save, and answers what the browser then saved, and under which name. */
async function save(page: Page, name: string): Promise<{ bytes: Buffer; as: string }> {
  const download = page.waitForEvent("download", patient);
  await card(page, name).getByTestId("file-save").click();
  const saved = await download;
  return { bytes: readFileSync(await saved.path()), as: saved.suggestedFilename() };
}

/** A file of these bytes is held above the page, and let go. */
async function dropFile(page: Page, name: string, bytes: Buffer): Promise<void> {
  const data = await page.evaluateHandle(
    ({ name, text }) => {
      const data = new DataTransfer();
      const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
      data.items.add(new File([bytes], name));
      return data;
    },
    { name, text: bytes.toString("base64") },
  );
  await page.dispatchEvent("main", "dragover", { dataTransfer: data });
  await expect(page.getByTestId("drop-target")).toBeVisible();
  await page.dispatchEvent("main", "drop", { dataTransfer: data });
  await expect(page.getByTestId("drop-target")).toHaveCount(0);
}

async function watchBars(page: Page): Promise<void> {
  await page.evaluate(() => {
    window.bars = {};
    const look = () => {
      for (const bar of document.querySelectorAll("progress")) {
        const label = bar.getAttribute("aria-label") ?? "";
        window.bars[label] = [...(window.bars[label] ?? []), bar.value];
      }
      requestAnimationFrame(look);
    };
    look();
  });
}

const between = async (page: Page, label: RegExp) =>
  Object.entries(await page.evaluate(() => window.bars))
    .filter(([name]) => label.test(name))
    .flatMap(([, values]) => values)
    .filter((value) => value > 0 && value < 100).length;

async function expectAccessible(page: Page): Promise<void> {
  const violations = await violationsOf(page);
  expect(violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" | ")}`)).toEqual(
    [],
  );
}

test("files go from peer to peer, by button and by drop, to all or to one, past the server", async ({
  server,
  visitor,
  moved,
}) => {
  test.setTimeout(120_000);
  const key = await server.createMeeting();
  const [ada, grace, linus] = [
    await visitor.enter(key, "Ada"),
    await visitor.enter(key, "Grace", { colorScheme: "dark" }),
    await visitor.enter(key, "Linus"),
  ];
  await expectMesh([ada, grace, linus]);
  for (const page of [ada, grace]) await page.getByTestId("open-chat").click();
  const [one, two] = [randomBytes(1 << 20), randomBytes(1 << 20)];
  const before = await moved();

  await attach(ada, "../plans\u202Efdp.exe", one);
  await expect(grace.getByTestId("notices")).toContainText("Ada offers a file: plansfdp.exe");
  const first = await save(grace, "plansfdp.exe");
  expect(first.as).toBe("plansfdp.exe");
  expect(sha256(first.bytes)).toBe(sha256(one));
  await expect(grace.getByTestId("notices")).toContainText("Received: plansfdp.exe");
  await expect(card(ada, "plansfdp.exe")).toContainText("Grace has it");

  await grace.getByTestId("chat-to").selectOption("Ada");
  await dropFile(grace, "back.bin", two);
  expect(sha256((await save(ada, "back.bin")).bytes)).toBe(sha256(two));
  expect((await moved()) - before).toBeLessThan(20_000);

  await linus.getByTestId("open-chat").click();
  await expect(linus.getByTestId("file")).toHaveCount(1); // not the one for Ada
  for (const page of [ada, grace, linus]) await expectAccessible(page);
});

test("a picture is shown when it is there, several files are several offers", async ({ server, visitor }) => {
  const key = await server.createMeeting();
  const [ada, grace] = [await visitor.enter(key, "Ada"), await visitor.enter(key, "Grace")];
  await expectMesh([ada, grace]);
  for (const page of [ada, grace]) await page.getByTestId("open-chat").click();
  const picture = await ada.screenshot();
  await ada.getByTestId("file-input").setInputFiles([
    { name: "picture.png", mimeType: "image/png", buffer: picture },
    {
      name: "drawing.svg",
      mimeType: "image/svg+xml",
      buffer: Buffer.from("<svg xmlns='http://www.w3.org/2000/svg'/>"),
    },
  ]);
  await save(grace, "picture.png");
  await expect(card(grace, "picture.png").getByRole("img", { name: "Picture: picture.png" })).toBeVisible();
  await save(grace, "drawing.svg");
  await expect(card(grace, "drawing.svg").getByTestId("file-received")).toBeVisible();
  await expect(card(grace, "drawing.svg").getByRole("img")).toHaveCount(0);
  await expectAccessible(grace);
  // What was pasted is offered, too.
  await ada.getByTestId("chat-text").focus();
  await ada.evaluate(() => {
    const data = new DataTransfer();
    data.items.add(new File(["hello"], "pasted.txt"));
    document.activeElement?.dispatchEvent(
      new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true }),
    );
  });
  expect(String((await save(grace, "pasted.txt")).bytes)).toBe("hello");
  const url = await card(grace, "picture.png").getByRole("img").getAttribute("src");
  await grace.getByTestId("leave").click();
  await expect(grace.getByTestId("over")).toBeVisible();
  const shown = (url: string) =>
    new Promise((resolve) => {
      const image = new Image();
      image.onload = () => resolve(true);
      image.onerror = () => resolve(false);
      image.src = url;
    });
  expect(await grace.evaluate(shown, url ?? "")).toBe(false);
});

test("a transfer that is cut goes on from where it was, and both sides see how far it is", async ({
  server,
  visitor,
  browsers,
}) => {
  test.setTimeout(300_000); // a dead connection is noticed, given up and made anew
  const key = await server.createMeeting();
  const [near, far] = browsers as [Browser, Browser];
  const [ada, grace] = [
    await visitor.enter(key, "Ada", { browser: near }),
    await visitor.enter(key, "Grace", { browser: far }),
  ];
  await expectMesh([ada, grace]);
  for (const page of [ada, grace]) {
    await page.getByTestId("open-chat").click();
    await watchBars(page);
  }
  const bytes = randomBytes(15e6);
  await attach(ada, "large.bin", bytes);
  await expect(card(grace, "large.bin").getByTestId("file-save")).toBeVisible(patient);
  // At the first sight of progress, in the page itself: there is not much time.
  const cut = grace.evaluate(
    () =>
      new Promise<number>((resolve) => {
        const look = () => {
          const bar = document.querySelector<HTMLProgressElement>("[data-testid=file] progress");
          if (!bar || bar.value < 10) return requestAnimationFrame(look);
          for (const peer of window.signald?.mesh.peers().values() ?? []) {
            (peer.connection() as RTCPeerConnection).close();
          }
          return resolve(bar.value);
        };
        look();
      }),
  );
  const saved = save(grace, "large.bin");
  expect(await cut).toBeLessThan(100);
  await expect(card(grace, "large.bin").getByTestId("file-waiting")).toContainText(
    "goes on by itself",
    patient,
  );
  expect(sha256((await saved).bytes)).toBe(sha256(bytes));
  await expect(card(ada, "large.bin")).toContainText("Grace has it");
  expect(await between(grace, /^Receiving large\.bin$/)).toBeGreaterThan(0);
  expect(await between(ada, /^large\.bin: To Grace$/)).toBeGreaterThan(0);
});

test("a large file goes straight to the disk, at the rate of the line", async ({
  server,
  visitor,
  browsers,
}) => {
  test.setTimeout(120_000);
  const key = await server.createMeeting();
  const [near, far] = browsers as [Browser, Browser];
  const ada = await visitor.enter(key, "Ada", { browser: near });
  const grace = await visitor.page({ browser: far });
  // In place of the user, who chooses where to: the disk behind it is a real one.
  await grace.addInitScript(() => {
    Object.assign(window, {
      showSaveFilePicker: async ({ suggestedName }: { suggestedName: string }) =>
        (await navigator.storage.getDirectory()).getFileHandle(suggestedName, { create: true }),
    });
  });
  await grace.goto(`/m/${key}`);
  await grace.getByTestId("name").fill("Grace");
  await grace.getByTestId("join").click();
  await expectMesh([ada, grace]);
  for (const page of [ada, grace]) await page.getByTestId("open-chat").click();
  const bytes = randomBytes(17e6);
  await attach(ada, "large.bin", bytes);
  await card(grace, "large.bin").getByTestId("file-save").click(patient);
  const began = Date.now();
  await expect(card(grace, "large.bin").getByTestId("file-received")).toBeVisible(patient);
  const rate = bytes.length / 1e3 / (Date.now() - began);
  test.info().annotations.push({ type: "MB/s", description: rate.toFixed(1) });
  const written = await grace.evaluate(async () => {
    const folder = await navigator.storage.getDirectory();
    const file = await (await folder.getFileHandle("large.bin")).getFile();
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", await file.arrayBuffer()));
    await folder.removeEntry("large.bin");
    return [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  });
  expect(written).toBe(sha256(bytes));
});

test("an offer ends when its sender stops it or leaves, and where the chat is switched off", async ({
  visitor,
}) => {
  const host = await visitor.page();
  await host.goto("/");
  await host.getByTestId("create").click();
  const key = await host.getByTestId("created-key").inputValue();
  await host.getByTestId("to-meeting").click();
  await host.getByTestId("name").fill("Ada");
  await host.getByTestId("join").click();
  const grace = await visitor.enter(key, "Grace", { locale: "zh-CN" });
  await expectMesh([host, grace]);
  for (const page of [host, grace]) await page.getByTestId("open-chat").click();
  await attach(host, "stopped.txt", Buffer.from("x"));
  await attach(host, "left.txt", Buffer.from("y"));
  await expect(card(grace, "stopped.txt").getByTestId("file-save")).toHaveText("接收");
  await card(host, "stopped.txt").getByTestId("file-stop").click();
  await card(grace, "stopped.txt").getByTestId("file-save").click();
  await expect(card(grace, "stopped.txt").getByTestId("file-problem")).toHaveAttribute(
    "data-code",
    "withdrawn",
  );
  await expect(card(grace, "stopped.txt")).toContainText("对方已停止共享");

  await host.getByTestId("open-people").click();
  await host.getByTestId("host-controls").locator("summary").click();
  await host.getByTestId("allow-chat").click();
  await expect(grace.getByTestId("attach")).toHaveCount(0);
  await dropFile(grace, "no.txt", Buffer.from("z"));
  await expect(grace.getByTestId("notices")).toContainText("主持人已关闭聊天");
  await host.getByTestId("leave").click();
  await expect(card(grace, "left.txt")).toContainText("发送者已离开");
  await expect(card(grace, "left.txt").getByTestId("file-save")).toHaveCount(0);
  await expect(grace.getByTestId("file")).toHaveCount(2);
});
