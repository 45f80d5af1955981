import { defineConfig } from 'vitest/config';

/** Unit and property tests share threads; everything that opens sockets runs in isolated forks. */
export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: ['test/**/*.test.ts'],
          exclude: ['test/**/*.{integration,interop,e2e,contract}.test.ts'],
          pool: 'threads',
          isolate: false,
          testTimeout: 60_000,
        },
      },
      {
        test: {
          name: 'integration',
          include: ['test/**/*.{integration,interop,e2e,contract}.test.ts'],
          pool: 'forks',
          testTimeout: 30_000,
          hookTimeout: 30_000,
        },
      },
    ],
    passWithNoTests: true,
    fileParallelism: true,
    maxWorkers: 2,
  },
});
