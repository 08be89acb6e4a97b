// Runs the tests of the npm package `http-cache-tests` against a proxy and prints {id: {kind, result}} as JSON.
//   node --no-warnings cache_tests.mjs <folder of the package> <address of the proxy> [id of one test]

const [folder, base, only] = process.argv.slice(2)
const from = path => import(`file://${folder}/${path}`)

const { default: fetch } = await from('node_modules/node-fetch/lib/index.mjs').catch(() => from('../node-fetch/lib/index.mjs'))
const { runTests, getResults } = await from('client/runner.mjs')
const { determineTestResult } = await from('lib/display.mjs')
const { default: suites } = await from('tests/index.mjs')
const { default: surrogate } = await from('tests/surrogate-control.mjs')

const words = { '✅': 'pass', '⛔️': 'fail', '⚠️': 'fail', Y: 'pass', N: 'fail', '🔹': 'setup', '⁉️': 'harness', '⚪️': 'dependency', '↻': 'retry', '-': 'untested' }
const all = [...suites, surrogate]
const wanted = only ? all.map(suite => ({ ...suite, tests: suite.tests.filter(test => test.id === only) })) : all
if (only) wanted.forEach(suite => suite.tests.forEach(test => { test.dump = true }))

await runTests(wanted, fetch, false, base)
const results = getResults()
const found = {}
for (const test of wanted.flatMap(suite => suite.tests)) {
  if (!(test.id in results)) continue
  const said = results[test.id]
  const result = words[determineTestResult(all, test.id, results, !only)[2]]
  found[test.id] = { kind: test.kind || 'required', result, why: said === true ? '' : said.join(': ') }
}
console.log(JSON.stringify(found))
