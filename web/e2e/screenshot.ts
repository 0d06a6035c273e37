import { mkdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, expectMesh, join, test } from "./fixtures.ts";

/** Not a test: makes the pictures in docs/images. `npm run screenshot` */

const folder = fileURLToPath(new URL("../../docs/images/", import.meta.url));

const cast = [
  { name: "Ada Lovelace", wall: ["#e9d8b8", "#c79a63"], shirt: "#5b3a5e", skin: "#e9b994", hair: "#3a2618" },
  { name: "王宇", wall: ["#cfe3da", "#6fa38f"], shirt: "#2f4858", skin: "#f0c7a0", hair: "#17181c" },
  { name: "Grace Hopper", wall: ["#d5deec", "#7f97bd"], shirt: "#7c2f2b", skin: "#dba884", hair: "#8b8f94" },
  {
    name: "Katherine Johnson",
    wall: ["#efd3c6", "#c07f68"],
    shirt: "#22564a",
    skin: "#8d5a3a",
    hair: "#201612",
  },
];

type Look = (typeof cast)[number];

/** In place of a camera: someone drawn, who moves a little. */
function pose({ wall, shirt, skin, hair }: Look): void {
  const devices = navigator.mediaDevices;
  const original = devices.getUserMedia.bind(devices);
  devices.getUserMedia = async (wanted) => {
    const sound = wanted?.audio ? await original({ audio: wanted.audio }) : new MediaStream();
    if (!wanted?.video) return sound;
    const [width, height] = [960, 720];
    const canvas = document.createElement("canvas");
    Object.assign(canvas, { width, height });
    const context = canvas.getContext("2d") as CanvasRenderingContext2D;
    const blob = (color: string, x: number, y: number, rx: number, ry: number) => {
      context.fillStyle = color;
      context.beginPath();
      context.ellipse(x, y, rx, ry, 0, 0, 2 * Math.PI);
      context.fill();
    };
    let time = 0;
    const draw = () => {
      time += 0.12;
      const light = context.createLinearGradient(0, 0, width, height);
      wall.forEach((color, i) => {
        light.addColorStop(i, color);
      });
      context.fillStyle = light;
      context.fillRect(0, 0, width, height);
      context.fillStyle = "rgb(255 255 255 / 22%)";
      context.fillRect(90, 80, 190, 260);
      context.fillRect(300, 80, 60, 260);
      const sway = Math.sin(time) * 8;
      const x = width / 2 + sway;
      blob(hair, x, 330, 142, 168);
      blob(shirt, width / 2 + sway / 2, 800, 300, 270);
      context.fillStyle = skin;
      context.fillRect(x - 44, 440, 88, 120);
      blob(skin, x, 365, 112, 140);
      context.fillStyle = hair;
      context.beginPath();
      context.ellipse(x, 290, 122, 90, 0, Math.PI, 2 * Math.PI);
      context.fill();
      blob("#20242a", x - 42, 360, 9, 11);
      blob("#20242a", x + 42, 360, 9, 11);
      context.strokeStyle = "rgb(60 20 20 / 70%)";
      context.lineWidth = 7;
      context.lineCap = "round";
      context.beginPath();
      context.arc(x, 405, 44, 0.2 * Math.PI, 0.8 * Math.PI);
      context.stroke();
    };
    draw();
    setInterval(draw, 200);
    const [picture] = canvas.captureStream(5).getVideoTracks() as [MediaStreamTrack];
    picture.contentHint = "detail"; // rather fewer pictures than coarser ones
    return new MediaStream([...sound.getTracks(), picture]);
  };
}

const shots = [
  { file: "meeting", scheme: "light", viewport: { width: 1280, height: 760 } },
  { file: "meeting-phone", scheme: "dark", viewport: { width: 390, height: 780 } },
] as const;

test("pictures", async ({ server, visitor }) => {
  test.setTimeout(120_000);
  mkdirSync(folder, { recursive: true });
  const key = await server.createMeeting("Analytical Engine, weekly");
  const [viewer, ...guests] = cast;
  const pages = [];
  for (const look of guests) {
    const page = await visitor.page();
    await page.addInitScript(pose, look);
    await join(page, key, look.name);
    pages.push(page);
  }
  await pages[1]?.getByTestId("toggle-mic").click();
  for (const { file, scheme, viewport } of shots) {
    const page = await visitor.page({ viewport, colorScheme: scheme, deviceScaleFactor: 2 });
    await page.addInitScript(pose, viewer as Look);
    if (file === "meeting") {
      await page.goto("/");
      await page.screenshot({ path: `${folder}start.png` });
    }
    await page.goto(`/m/${key}`);
    await page.getByTestId("name").fill((viewer as Look).name);
    await page.locator('[data-testid="preview"][data-video="on"]').waitFor();
    await page.getByTestId("join").click();
    await expectMesh([...pages, page]);
    // Pictures sharpen as the bandwidth is found; on a slow machine, not all of them do.
    await page
      .waitForFunction(
        () =>
          [...document.querySelectorAll<HTMLVideoElement>('[data-self="false"] video')].every(
            (video) => video.videoWidth >= 640,
          ),
        undefined,
        { timeout: 15_000 },
      )
      .catch(() => {});
    await expect(page.locator(".notice")).toHaveCount(0, { timeout: 10_000 });
    await page.screenshot({ path: `${folder}${file}.png` });
    await page.close();
  }
});
