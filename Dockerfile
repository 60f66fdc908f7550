# One image for every role: docker run millrace ingest|serve|compact|up …
FROM node:20.20.2-bookworm-slim AS build
WORKDIR /app
# Before the sources, so that a change of these does not install again.
COPY package.json package-lock.json .npmrc ./
RUN npm ci --include=dev
COPY . .
RUN npm run build && npm prune --omit=dev

FROM node:20.20.2-bookworm-slim
ENV NODE_ENV=production MILLRACE_HOST=0.0.0.0 MILLRACE_PORT=8787 MILLRACE_DATA_DIR=/data
WORKDIR /app
COPY --from=build /app/package.json ./
COPY --from=build /app/node_modules node_modules
COPY --from=build /app/bin bin
COPY --from=build /app/dist dist
COPY --from=build /app/examples examples
# Only `up` without Kafka and Redis keeps data here.
RUN mkdir /data && chown node:node /data
USER node
EXPOSE 8787
# Millrace handles SIGTERM itself, also as process 1.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.MILLRACE_PORT}/readyz`).then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
# Reads and chunks make short-lived objects. With a larger young generation `serve`, at 1,000 requests/s over some hundred connections,
# collects its whole heap no more, 10 ms each time (docs/performance.md); it took a fifth of the CPU time of `ingest` at full speed away
# (npm run bench -- --roles).
ENV NODE_OPTIONS=--max-semi-space-size=64
ENTRYPOINT ["node", "/app/bin/millrace.js"]
CMD ["up"]
