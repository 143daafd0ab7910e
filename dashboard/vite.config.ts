import { defineConfig } from "vite";

// The server serves the folder below as it is, under a policy that allows no inline code: whatever is small
// enough to be put inline by default becomes a file instead.
export default defineConfig({
  base: "/",
  build: {
    outDir: "../src/taskqueuex/dashboard/static",
    emptyOutDir: true,
    target: "es2022",
    cssTarget: "esnext",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
  server: { proxy: { "/v1": process.env.TQX_URL ?? "http://127.0.0.1:7470" } },
});
