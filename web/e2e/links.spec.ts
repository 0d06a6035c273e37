import type { Page } from "@playwright/test";
import { io } from "socket.io-client";
import { expect, expectMediaRising, expectMesh, join, others, test as plain } from "./fixtures.ts";
import { type Link, linkTo } from "./link.ts";
import { startServer } from "./server.ts";

const test = plain.extend<{ link: Link }>({
  link: async ({ server }, use) => {
    const link = await linkTo(server.url);
    await use(link);
    link.close();
  },
});

test.setTimeout(90_000); // for what links take, and a busy machine

const selfId = (page: Page) => page.evaluate(() => window.signald?.mesh.view().selfId);

async function say(page: Page, text: string): Promise<void> {
  if ((await page.getByTestId("chat").count()) === 0) await page.getByTestId("open-chat").click();
  await page.getByTestId("chat-text").fill(text);
  await page.keyboard.press("Enter");
}

test("behind a proxy that swallows WebSockets one is in within seconds", async ({
  server,
  visitor,
  link,
}) => {
  await link.fault("swallow");
  const key = await server.createMeeting();
  const ada = await visitor.enter(key, "Ada");
  const grace = await visitor.page({ baseURL: link.url });
  await grace.goto(`/m/${key}`);
  await grace.getByTestId("name").fill("Grace");
  await grace.getByTestId("join").click();
  // Four seconds are the link's; the rest is for a busy machine.
  await expect(grace.getByTestId("meeting")).toHaveAttribute("data-status", "joined", { timeout: 20_000 });
  await expectMesh([ada, grace]);
  await expectMediaRising(grace, 2);
});

test("a link that is dead at one end only is given up, and one is back as who one was", async ({
  server,
  visitor,
  link,
}) => {
  const key = await server.createMeeting();
  const ada = await visitor.enter(key, "Ada");
  const grace = await visitor.enter(key, "Grace", { baseURL: link.url });
  await expectMesh([ada, grace]);
  const before = await selfId(grace);
  await link.fault("dead client");
  await expect(grace.getByTestId("banner")).toContainText("reconnecting", { timeout: 15_000 });
  await link.fault("heal");
  await expect(grace.getByTestId("meeting")).toHaveAttribute("data-status", "joined", { timeout: 15_000 });
  expect(await selfId(grace)).toBe(before);
  await expectMesh([ada, grace]);
});

test("a screen shared while somebody's link was dead is seen right after the return", async ({
  server,
  visitor,
  link,
}) => {
  const key = await server.createMeeting();
  const ada = await visitor.page();
  await ada.addInitScript(() => {
    navigator.mediaDevices.getDisplayMedia = async () => {
      const canvas = document.createElement("canvas");
      const context = canvas.getContext("2d");
      setInterval(() => context?.fillRect(Math.random() * 200, Math.random() * 100, 20, 20), 200);
      return canvas.captureStream(5);
    };
  });
  await join(ada, key, "Ada");
  const grace = await visitor.enter(key, "Grace", { baseURL: link.url });
  await expectMesh([ada, grace]);
  await link.fault("dead both");
  await ada.getByTestId("toggle-screen").click();
  await expect(ada.locator('[data-self="true"][data-kind="screen"]')).toBeVisible();
  await link.fault("heal");
  await link.fault("reset");
  await expect(grace.getByTestId("banner")).toContainText("reconnecting");
  await expect(grace.getByTestId("meeting")).toHaveAttribute("data-status", "joined");
  await expect
    .poll(
      () =>
        grace.evaluate(() => {
          const screen = document.querySelector<HTMLVideoElement>('[data-kind="screen"] video');
          return (screen?.videoWidth ?? 0) > 0;
        }),
      { timeout: 5_000, intervals: [50] }, // 0.6 s where nothing else runs; half a minute if it had to be built anew
    )
    .toBe(true);
});

test("a join whose answer is lost with the page makes nobody double", async ({ server, visitor, link }) => {
  const key = await server.createMeeting();
  const ada = await visitor.enter(key, "Ada");
  const grace = await visitor.page({ baseURL: link.url });
  await grace.goto(`/m/${key}`);
  await expect(grace.getByTestId("preview")).toHaveAttribute("aria-busy", "false");
  await grace.getByTestId("name").fill("Grace");
  const lost = link.lost();
  await link.fault('drop client "ok":true');
  await grace.getByTestId("join").click();
  await lost;
  await expect(others(ada)).toHaveCount(1);
  const first = await others(ada).getAttribute("data-peer-id");
  await grace.reload();
  await expect(grace.getByTestId("name")).toHaveValue("Grace");
  await grace.getByTestId("join").click();
  await expectMesh([ada, grace]);
  expect(await others(ada).getAttribute("data-peer-id")).toBe(first);
  await expectMediaRising(ada, 2);
});

test("a sign-in page in the server's place is called one", async ({ server, visitor }) => {
  const key = await server.createMeeting();
  const page = await visitor.page();
  await page.route("**/api/v1/meetings/*", (route) =>
    route.fulfill({ status: 200, contentType: "text/html", body: "<html>Please sign in</html>" }),
  );
  await page.goto(`/m/${key}`);
  await expect(page.getByTestId("error").filter({ hasText: "sign-in page" })).toBeVisible();
});

test("who is one too many is told at once, and is in as soon as there is room", async ({ visitor }) => {
  const server = await startServer({ SIGNALD_MAX_SOCKETS_PER_IP: "2" });
  const key = await server.createMeeting();
  const options = { baseURL: server.url };
  const ada = await visitor.enter(key, "Ada", options);
  const linus = await visitor.enter(key, "Linus", options);
  const grace = await visitor.page(options);
  await grace.goto(`/m/${key}`);
  await grace.getByTestId("name").fill("Grace");
  await grace.getByTestId("join").click();
  await expect(grace.getByTestId("still-trying")).toContainText(
    "Too many connections come from your network",
  );
  await linus.getByTestId("leave").click();
  await expect(async () => {
    // After 15 s it is said again, and for her to try.
    if ((await grace.locator('[data-testid="join"][aria-busy="false"]').count()) > 0) {
      await grace.getByTestId("join").click();
    }
    await expect(grace.getByTestId("meeting")).toHaveAttribute("data-status", "joined", { timeout: 5_000 });
  }).toPass({ timeout: 40_000 });
  await expectMesh([ada, grace]);
  for (const page of [ada, grace]) await page.close();
  await server.stop();
});

test("who was out for longer than the seat is kept reads on, and sees when that was", async ({ visitor }) => {
  const server = await startServer({ SIGNALD_GRACE: "1s" });
  const link = await linkTo(server.url);
  const key = await server.createMeeting();
  const ada = await visitor.enter(key, "Ada", { baseURL: server.url });
  const grace = await visitor.enter(key, "Grace", { baseURL: link.url });
  await expectMesh([ada, grace]);
  await say(ada, "before");
  await expect(grace.getByTestId("unread")).toHaveText("1");
  const before = await selfId(grace);
  await link.fault("refuse 502 away");
  await link.fault("reset");
  await expect(others(ada)).toHaveCount(0);
  await say(ada, "meanwhile");
  await expect(ada.getByTestId("message")).toHaveCount(2);
  await link.fault("heal");
  await expectMesh([ada, grace]);
  expect(await selfId(grace)).not.toBe(before);
  await say(ada, "after");
  await grace.getByTestId("open-chat").click();
  await expect(grace.locator(".log li")).toHaveText([
    /before$/,
    /^You were away from .* to .*[^.]$/,
    /meanwhile$/,
    /after$/,
  ]);
  await expect(grace.getByTestId("chat")).not.toContainText("Nothing was said");
  for (const page of [ada, grace]) await page.close();
  link.close();
  await server.stop();
});

test("who has the original client is shown as such, with what that means", async ({ server, visitor }) => {
  const key = await server.createMeeting();
  const ada = await visitor.enter(key, "Ada");
  const old = io(server.url, { transports: ["websocket"] });
  old.emit("join", { meeting_id: key, user_id: "Grace", SDP: "v=0", CANDIDATE: "" });
  await expect(others(ada, "Grace")).toContainText("older program");
  await expect(others(ada, "Grace").getByTestId("badge-muted")).toHaveCount(0);
  await ada.getByTestId("open-people").click();
  await expect(ada.getByTestId("apart")).toContainText("Grace uses an older program. You cannot hear or see");
  await ada.getByTestId("open-chat").click();
  await expect(ada.getByTestId("chat-to").getByRole("option")).toHaveText(["Everyone"]);
  old.disconnect();
  await expect(others(ada)).toHaveCount(0);
});
