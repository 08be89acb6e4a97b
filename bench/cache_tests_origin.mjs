// The origin server of `http-cache-tests`, which keeps idle connections for longer (20 s) than ours does (15 s), not 5 s: a cache must not be
// judged by which of its requests met a connection that was just being closed.
//   node --no-warnings cache_tests_origin.mjs <folder of the package>

import http from 'node:http'

const createServer = http.createServer
http.createServer = (...given) => Object.assign(createServer(...given), { keepAliveTimeout: 20_000 })
await import(`file://${process.argv[2]}/server/server.mjs`)
