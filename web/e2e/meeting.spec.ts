import type { Page } from "@playwright/test";
import { expect, expectMediaRising, expectMesh, join, observe, others, test } from "./fixtures.ts";

const names = ["Ada", "王宇", "Grace", "Linus"];

for (const count of [2, 3, 4]) {
  test(`${count} people see and hear each other`, async ({ server, visitor }) => {
    const key = await server.createMeeting();
    const pages = [];
    for (const name of names.slice(0, count)) pages.push(await visitor.enter(key, name));
    await expectMesh(pages);
    for (const page of pages) await expectMediaRising(page, count);
    for (const page of pages) {
      await expect
        .poll(() =>
          others(page)
            .locator("video")
            .evaluateAll(
              (videos) => videos.filter((video) => (video as HTMLVideoElement).videoWidth > 0).length,
            ),
        )
        .toBe(count - 1);
    }
  });
}

test("from the start page to a conversation, by the link", async ({ server, visitor }) => {
  const ada = await visitor.page();
  await ada.goto("/");
  await ada.getByTestId("meeting-name").fill("Analytical Engine");
  await ada.getByTestId("create").click();
  const link = await ada.getByTestId("created-link").inputValue();
  const key = await ada.getByTestId("created-key").inputValue();
  expect(link).toBe(`${server.url}/m/${key}`);
  await ada.getByTestId("to-meeting").click();
  await ada.getByTestId("name").fill("Ada");
  await ada.keyboard.press("Enter");
  await expect(ada.getByRole("heading", { name: "Analytical Engine" })).toBeVisible();
  await expect(ada.getByTestId("badge-host")).toBeVisible();

  const grace = await visitor.page();
  await grace.goto("/");
  await grace.getByTestId("key").fill(link); // a link is understood where a key is asked for
  await grace.getByTestId("open").click();
  await expect(grace.getByTestId("inside")).toHaveText("One person is here");
  await grace.getByTestId("name").fill("Grace");
  await grace.getByTestId("join").click();
  await expectMesh([ada, grace]);
  await expect(ada.getByTestId("notices")).toContainText("Grace joined");
});

test("a closed page is gone from the others at once", async ({ server, visitor }) => {
  const key = await server.createMeeting();
  const [ada, grace, linus] = [
    await visitor.enter(key, "Ada"),
    await visitor.enter(key, "Grace"),
    await visitor.enter(key, "Linus"),
  ];
  await expectMesh([ada, grace, linus]);
  await linus.close({ runBeforeUnload: true });
  for (const page of [ada, grace]) {
    await expect(others(page, "Linus")).toHaveCount(0, { timeout: 2_000 });
    await expect(page.getByTestId("notices")).toContainText("Linus left");
  }
  await expectMesh([ada, grace]);
});

const self = (page: Page) => page.evaluate(() => window.signald?.mesh.view().selfId);
const role = (page: Page) => page.evaluate(() => window.signald?.mesh.view().role);

test("a reload leaves no ghost, makes nobody double, and resumes as the same person", async ({
  visitor,
}, info) => {
  info.setTimeout(60_000);
  const ada = await visitor.page();
  await ada.goto("/");
  await ada.getByTestId("create").click();
  const key = await ada.getByTestId("created-key").inputValue();
  await ada.getByTestId("to-meeting").click();
  await ada.getByTestId("name").fill("Ada");
  await ada.getByTestId("join").click();
  const grace = await visitor.enter(key, "Grace");
  const linus = await visitor.enter(key, "Linus");
  const pages = [ada, grace, linus];
  await expectMesh(pages);
  await ada.getByTestId("toggle-mic").click();
  await expect(others(grace, "Ada").getByTestId("badge-muted")).toBeVisible();
  const before = await self(ada);
  expect(await role(ada)).toBe("host");

  const began = Date.now();
  await ada.reload();
  await expect(ada.getByTestId("meeting")).toHaveAttribute("data-status", "joined");
  const back = Date.now() - began;
  await expectMesh(pages);
  info.annotations.push({
    type: "measured",
    description: `in the meeting ${back} ms after the reload, connected to all after ${Date.now() - began} ms`,
  });
  expect(await self(ada)).toBe(before);
  expect(await role(ada)).toBe("host");
  for (const page of [grace, linus]) {
    await expect(others(page)).toHaveCount(2);
    await expect(others(page, "Ada")).toHaveCount(1);
    await expect(others(page, "Ada")).toHaveAttribute("data-peer-id", before ?? "");
    await expect(others(page, "Ada")).toHaveAttribute("data-video", "on"); // as it was
    await expect(others(page, "Ada").getByTestId("badge-muted")).toBeVisible();
  }
  await ada.getByTestId("toggle-mic").click();
  for (const page of pages) await expectMediaRising(page, 3);
  expect(await ada.evaluate(() => sessionStorage.length)).toBe(0);
});

test("a server that cannot take a reloaded page back yet is asked again", async ({ server, visitor }) => {
  const key = await server.createMeeting();
  const [ada, grace] = [await visitor.enter(key, "Ada"), await visitor.enter(key, "Grace")];
  await expectMesh([ada, grace]);
  const before = await self(ada);
  let refusals = 0;
  await ada.routeWebSocket(/socket\.io/, (page) => {
    const server = page.connectToServer();
    page.onMessage((message) => {
      const join = /^42(\d+)\["join"/.exec(String(message));
      if (!join || ++refusals > 2) return server.send(message);
      page.send(`43${join[1]}[{"ok":false,"code":"unavailable","message":"","retry_after_ms":1500}]`);
    });
  });
  await ada.reload();
  await expect(ada.getByTestId("returning")).toContainText("Trying again");
  await expectMesh([ada, grace]);
  expect(await self(ada)).toBe(before);
  expect(refusals).toBe(3);
});

test("duplicating a tab does not steal the seat", async ({ server, visitor }) => {
  const key = await server.createMeeting();
  const ada = await visitor.enter(key, "Ada");
  const grace = await visitor.enter(key, "Grace");
  await expectMesh([ada, grace]);
  await ada.reload(); // also one that has once resumed
  await expectMesh([ada, grace]);
  const first = await self(ada);

  // As browsers do it: the copy is opened by the tab, with its address and its sessionStorage.
  const [copy] = await Promise.all([
    ada.waitForEvent("popup"),
    ada.evaluate(() => void window.open(location.href)),
  ]);
  await copy.getByTestId("join").click(); // it has to ask: nothing brings it in by itself
  await expectMesh([ada, grace, copy]);
  expect(await self(copy)).not.toBe(first);
  expect(await self(ada)).toBe(first);
  await expect(ada.getByTestId("meeting")).toHaveAttribute("data-status", "joined");
});

test("a reload that comes too late asks to join, with the name filled in", async ({ server, visitor }) => {
  const key = await server.createMeeting();
  const ada = await visitor.enter(key, "Ada");
  await ada.goto("about:blank");
  await ada.goto("/");
  await ada.evaluate((key) => {
    const parting = {
      key,
      name: "Ada L.",
      token: "rt_of_long_ago",
      audio: true,
      video: true,
      at: Date.now(),
    };
    sessionStorage.setItem("signald.parting", JSON.stringify(parting));
  }, key);
  await ada.goto(`/m/${key}`);
  await expect(ada.getByTestId("name")).toHaveValue("Ada L.");
  expect(await ada.evaluate(() => sessionStorage.length)).toBe(0);
});

test("leaving and joining again", async ({ server, visitor }) => {
  const key = await server.createMeeting();
  const ada = await visitor.enter(key, "Ada");
  const grace = await visitor.enter(key, "Grace");
  await expectMesh([ada, grace]);
  await grace.getByTestId("leave").click();
  await expect(grace.getByRole("heading", { name: "You have left the meeting" })).toBeVisible();
  await expect(others(ada)).toHaveCount(0, { timeout: 2_000 });
  await grace.getByTestId("rejoin").click();
  await grace.getByTestId("join").click();
  await expectMesh([ada, grace]);
});

test("muting and switching the camera are seen by the others, and undone", async ({ server, visitor }) => {
  const key = await server.createMeeting();
  const ada = await visitor.enter(key, "Ada");
  const grace = await visitor.enter(key, "Grace");
  await expectMesh([ada, grace]);
  const tile = others(ada, "Grace");
  await grace.getByTestId("toggle-mic").click();
  await expect(tile.getByTestId("badge-muted")).toBeVisible({ timeout: 2_000 });
  await grace.getByTestId("toggle-camera").click();
  await expect(tile).toHaveAttribute("data-video", "off", { timeout: 2_000 });
  await grace.getByTestId("toggle-mic").click();
  await grace.getByTestId("toggle-camera").click();
  await expect(tile).toHaveAttribute("data-video", "on");
  await expect(tile).toHaveAttribute("data-audio", "on");
  await expectMediaRising(ada, 2);
});

test("two share their screens at the same time", async ({ server, visitor }) => {
  const key = await server.createMeeting();
  const ada = await visitor.enter(key, "Ada");
  const grace = await visitor.enter(key, "Grace");
  const pages = [ada, grace];
  await expectMesh(pages);
  for (const page of pages) {
    // A headless browser has no screen: a drawing stands for it.
    await page.evaluate(() => {
      navigator.mediaDevices.getDisplayMedia = async () => {
        const canvas = document.createElement("canvas");
        canvas.width = 320;
        canvas.height = 180;
        const context = canvas.getContext("2d");
        let shade = 0;
        setInterval(() => {
          if (!context) return;
          context.fillStyle = `hsl(${shade++ % 360} 60% 50%)`;
          context.fillRect(0, 0, 320, 180);
        }, 200);
        return canvas.captureStream(5);
      };
    });
  }
  await Promise.all(pages.map((page) => page.getByTestId("toggle-screen").click()));
  for (const page of pages) {
    const screen = page.locator('[data-kind="screen"][data-self="false"]');
    await expect(screen).toHaveCount(1);
    await expect
      .poll(() => screen.locator("video").evaluate((video) => (video as HTMLVideoElement).videoWidth))
      .toBeGreaterThan(0);
  }
  await ada.getByTestId("toggle-screen").click();
  await expect(grace.locator('[data-kind="screen"][data-self="false"]')).toHaveCount(0);
  for (const page of pages) await expectMediaRising(page, 2);
});

test("two first offers that cross on the way still make one connection", async ({ server, visitor }) => {
  const key = await server.createMeeting();
  const ada = await visitor.page();
  await ada.clock.install();
  await join(ada, key, "Ada");
  const grace = await visitor.page();
  const held: (() => void)[] = [];
  await grace.routeWebSocket(/socket\.io/, (socket) => {
    const upstream = socket.connectToServer();
    socket.onMessage((message) => {
      if (String(message).includes('"kind":"offer"')) held.push(() => upstream.send(message));
      else upstream.send(message);
    });
  });
  await join(grace, key, "Grace");
  await expect(others(ada, "Grace")).toHaveAttribute("data-state", "connecting");
  await expect.poll(() => held.length).toBe(1);
  await ada.clock.fastForward(10_000); // Ada has waited in vain, and offers herself
  for (const release of held) release();
  await expectMesh([ada, grace]);
  for (const page of [ada, grace]) await expectMediaRising(page, 2);
});

test("a lost signaling connection is shown, media flows on, the tile stays", async ({ server, visitor }) => {
  const key = await server.createMeeting();
  const ada = await visitor.enter(key, "Ada");
  const grace = await visitor.page();
  const wire = { cut: () => {}, up: true };
  await grace.routeWebSocket(/socket\.io/, (socket) => {
    const upstream = socket.connectToServer();
    wire.cut = () => {
      void socket.close();
      void upstream.close();
    };
    // Cut at the server's first word: an earlier end is one that the page is never told of.
    if (!wire.up) upstream.onMessage(() => wire.cut());
  });
  await grace.route(/socket\.io/, (route) => (wire.up ? route.continue() : route.abort()));
  await join(grace, key, "Grace");
  await expectMesh([ada, grace]);
  const before = await others(ada, "Grace").getAttribute("data-peer-id");
  const tracks = () =>
    grace.evaluate(() =>
      [...(window.signald?.mesh.peers().values() ?? [])].map((peer) => peer.remote().camera?.id),
    );
  const trackBefore = await tracks();

  wire.up = false;
  wire.cut();
  await expect(grace.getByTestId("banner")).toContainText("reconnecting");
  await expect(others(ada, "Grace")).toContainText("away");
  for (const page of [ada, grace]) await expectMediaRising(page, 2);

  wire.up = true;
  await expect(grace.getByTestId("meeting")).toHaveAttribute("data-status", "joined");
  await expect(others(ada, "Grace")).not.toContainText("away");
  expect(await others(ada, "Grace").getAttribute("data-peer-id")).toBe(before);
  expect(await tracks()).toEqual(trackBefore);
  for (const page of [ada, grace]) await expectMediaRising(page, 2);
});

test("the server is killed and started again: media never stops, everyone is back", async ({
  server,
  browsers,
  visitor,
}, info) => {
  info.setTimeout(90_000);
  const key = await server.createMeeting();
  const pages: Page[] = [];
  for (const [i, browser] of browsers.entries()) {
    pages.push(await visitor.enter(key, names[i] ?? "", { browser }));
  }
  await expectMesh(pages);
  for (const page of pages) await expectMediaRising(page, 3);
  const ids = () =>
    Promise.all(
      pages.map((page) =>
        others(page).evaluateAll((tiles) => tiles.map((tile) => tile.getAttribute("data-peer-id"))),
      ),
    );
  const before = await ids();
  await Promise.all(pages.map(observe));

  await server.kill();
  for (const page of pages) await expect(page.getByTestId("banner")).toContainText("reconnecting");
  for (const page of pages) await expectMediaRising(page, 3);
  const restarted = Date.now();
  await server.start();
  for (const page of pages) {
    await expect(page.getByTestId("meeting")).toHaveAttribute("data-status", "joined");
  }
  const back = Date.now() - restarted;
  await expectMesh(pages);
  for (const page of pages) await expectMediaRising(page, 3);
  expect(await ids()).toEqual(before);

  for (const page of pages) {
    const seen = await page.evaluate(() => window.observed);
    expect(seen.looks).toBeGreaterThan(10);
    expect(seen.mostTiles).toBe(2); // of the others, at any time
    expect(seen.fewestTiles).toBe(2);
    expect(seen.peers.length).toBe(2);
    expect(seen.fell).toEqual([]); // counters of a connection made anew begin at nothing
    const time = `back ${back} ms after the restart; media stood still for ${Math.round(seen.stood)} ms at most`;
    info.annotations.push({ type: "measured", description: time });
  }
});
