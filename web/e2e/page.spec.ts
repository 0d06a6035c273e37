import type { Page } from "@playwright/test";
import { violationsOf } from "./axe.ts";
import { launch } from "./browser.ts";
import { expect, expectMediaRising, expectMesh, others, test } from "./fixtures.ts";

async function expectAccessible(page: Page): Promise<void> {
  const violations = await violationsOf(page);
  expect(violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(" | ")}`)).toEqual(
    [],
  );
}

test("a wrong key says so, and what was typed stays", async ({ visitor }) => {
  const page = await visitor.page();
  await page.goto("/");
  await page.getByTestId("key").fill("no-such-key");
  await page.getByTestId("open").click();
  await expect(page.getByRole("alert").filter({ hasText: "No meeting has this key" })).toBeVisible();
  await expect(page.getByTestId("key")).toHaveValue("no-such-key");
  await expect(page.getByTestId("key")).toHaveAttribute("aria-invalid", "true");
});

test("a link with a wrong key leads to the same sentence", async ({ visitor }) => {
  const page = await visitor.page();
  await page.goto("/m/no%20such%2Fkey");
  await expect(page.getByText("No meeting has this key")).toBeVisible();
  await expect(page.getByTestId("key")).toHaveValue("no such/key");
});

test("Chinese for who reads Chinese", async ({ visitor, server }) => {
  const page = await visitor.page({ locale: "zh-CN" });
  await page.goto("/");
  await expect(page.locator("html")).toHaveAttribute("lang", "zh-CN");
  await page.getByTestId("key").fill("错误的密钥");
  await page.getByTestId("open").click();
  await expect(page.getByText("会议不存在")).toBeVisible();
  await expect(page.getByTestId("key")).toHaveValue("错误的密钥");
  await page.getByTestId("key").fill(await server.createMeeting());
  await page.getByTestId("open").click();
  await page.getByTestId("name").fill("王宇");
  await page.getByRole("button", { name: "加入" }).click();
  await expect(page.getByRole("button", { name: "静音" })).toBeVisible();
});

for (const [what, machine, sentence] of [
  [
    "refused",
    { devices: true, permission: false },
    "The browser was not allowed to use camera or microphone",
  ],
  ["missing", { devices: false, permission: true }, "A camera or microphone was not found"],
] as const) {
  test(`camera and microphone ${what}: one joins all the same, watching, and is told so`, async ({
    server,
    visitor,
  }) => {
    const browser = await launch(machine);
    const key = await server.createMeeting();
    const ada = await visitor.enter(key, "Ada");
    const grace = await visitor.page({ browser });
    await grace.goto(`/m/${key}`);
    await expect(grace.getByTestId("media-advice")).toContainText(sentence);
    await expect(grace.getByTestId("media-advice")).toContainText("You are watching");
    await grace.getByTestId("name").fill("Grace");
    await grace.getByTestId("join").click();
    await expectMesh([ada, grace]);
    await expect(grace.getByTestId("media-advice")).toContainText("You are watching");
    await expectMediaRising(grace, 2); // who watches hears and sees
    await expect(others(ada, "Grace").getByTestId("badge-no-camera")).toBeVisible();
    await expect(others(ada, "Grace").getByTestId("badge-muted")).toBeVisible();
    await grace.close();
    await browser.close();
  });
}

test("names are text, whatever they look like", async ({ server, visitor }) => {
  const evil = '<img src=x onerror="window.violations.push(1)">';
  const key = await server.createMeeting("<script>window.violations.push(2)</script>");
  const ada = await visitor.enter(key, "Ada");
  await visitor.enter(key, evil);
  await expect(others(ada).getByTestId("tile-name")).toHaveText(evil);
  await expect(ada.getByTestId("notices")).toContainText(evil);
  await expect(ada.getByRole("heading")).toHaveText("<script>window.violations.push(2)</script>");
  expect(await ada.locator("img").count()).toBe(0);
});

for (const scheme of ["light", "dark"] as const) {
  test(`axe finds nothing, ${scheme}`, async ({ server, visitor }) => {
    const key = await server.createMeeting();
    await visitor.enter(key, "Ada");
    const page = await visitor.page({ colorScheme: scheme });
    await page.goto("/");
    await expectAccessible(page);
    await page.getByTestId("key").fill("wrong");
    await page.getByTestId("open").click();
    await expect(page.getByTestId("error").filter({ hasText: "No meeting" })).toBeVisible();
    await expectAccessible(page);
    await page.getByTestId("create").click();
    await expect(page.getByTestId("created-key")).toBeVisible();
    await expectAccessible(page);
    await page.goto(`/m/${key}`);
    await expect(page.getByTestId("preview")).toHaveAttribute("data-video", "on");
    await expectAccessible(page);
    await page.getByTestId("name").fill("Grace");
    await page.getByTestId("toggle-camera").click();
    await page.getByTestId("join").click();
    await expect(others(page)).toHaveAttribute("data-state", "connected");
    await expectAccessible(page);
    for (const panel of ["people", "chat", "settings"]) {
      await page.getByTestId(`open-${panel}`).click();
      await expectAccessible(page);
    }
    await page.getByTestId("leave").click();
    await expect(page.getByTestId("over")).toBeVisible();
    await expectAccessible(page);
  });
}

for (const [device, viewport] of [
  ["a phone upright", { width: 360, height: 640 }],
  ["a phone on its side", { width: 740, height: 340 }],
  ["a wide screen", { width: 1920, height: 1000 }],
] as const) {
  test(`everything fits ${device}`, async ({ server, visitor }) => {
    const key = await server.createMeeting();
    await visitor.enter(key, "Ada");
    await visitor.enter(key, "Grace with a name that is longer than any tile is wide, by far, on any phone");
    const page = await visitor.page({ viewport });
    const fits = () =>
      page.evaluate(() => document.documentElement.scrollWidth <= document.documentElement.clientWidth);
    await page.goto("/");
    expect(await fits()).toBe(true);
    await page.goto(`/m/${key}`);
    expect(await fits()).toBe(true);
    await page.getByTestId("name").fill("Linus");
    await page.getByTestId("join").click();
    await expect(others(page)).toHaveCount(2);
    expect(await fits()).toBe(true);
    for (const tile of await page.getByTestId("tile").all()) {
      await expect(tile).toBeInViewport({ ratio: 0.98 });
    }
    for (const control of await page.getByRole("region", { name: "Controls" }).getByRole("button").all()) {
      await expect(control).toBeInViewport({ ratio: 0.98 });
    }
  });
}

test("the whole way by keyboard alone", async ({ server, visitor }) => {
  const key = await server.createMeeting();
  const page = await visitor.page();
  await page.goto("/");
  await expect(page.getByRole("heading", { level: 1 })).toBeFocused();
  for (let i = 0; i < 4; i++) await page.keyboard.press("Tab");
  await expect(page.getByTestId("key")).toBeFocused();
  await page.keyboard.type(key);
  await page.keyboard.press("Enter");
  await expect(page.getByTestId("name")).toBeFocused();
  await page.keyboard.type("Ada");
  await page.keyboard.press("Enter");
  await expect(page.getByRole("heading", { level: 1 })).toBeFocused();
  await page.keyboard.press("Tab");
  await page.keyboard.press("Tab"); // past the offer to copy the link
  await expect(page.getByTestId("toggle-mic")).toBeFocused();
  // Joined to be heard: a press mutes, wherever the microphone is by then.
  await page.keyboard.press("Space");
  await expect(page.getByTestId("toggle-mic")).toHaveText("Unmute");
  await expect(page.getByTestId("toggle-camera")).not.toHaveAttribute("aria-busy"); // both have come
  await expect(page.getByTestId("toggle-mic")).toHaveText("Unmute");
});
