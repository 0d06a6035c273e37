import { defineConfig } from "vite";
import { land } from "./land.ts";

export default defineConfig({
  // Relative addresses: the page may live below a prefix. <base href> in index.html, which the server
  // rewrites, says where that is, also for the page served at /m/<key>.
  base: "./",
  plugins: [land()],
  build: {
    rollupOptions: { input: ["index.html", "admin.html"] },
    target: "es2022",
    // data: URLs would need holes in the content security policy.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    // Empties dist but for what public/ puts back, .gitkeep among it: Go's embed needs the folder.
    emptyOutDir: true,
  },
});
