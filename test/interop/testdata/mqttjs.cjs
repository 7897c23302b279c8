// MQTT.js, driven by lines of JSON: a command a line on standard input, an event a
// line on standard output. The words are described in driver_test.go. Everything
// that speaks MQTT here is MQTT.js; this only translates.
'use strict'
const mqtt = require('mqtt')
const crypto = require('crypto')
const fs = require('fs')
const readline = require('readline')

const say = (event) => process.stdout.write(JSON.stringify(event) + '\n')
let client

function toProperties(given) {
  if (!given) return undefined
  const p = {}
  if ('content_type' in given) p.contentType = given.content_type
  if ('response_topic' in given) p.responseTopic = given.response_topic
  if ('correlation' in given) p.correlationData = Buffer.from(given.correlation)
  if ('expiry' in given) p.messageExpiryInterval = given.expiry
  if ('payload_format' in given) p.payloadFormatIndicator = given.payload_format === 1
  if ('user' in given) {
    p.userProperties = {}
    for (const [name, value] of given.user) {
      if (name in p.userProperties) p.userProperties[name] = [].concat(p.userProperties[name], value)
      else p.userProperties[name] = value
    }
  }
  return p
}

function fromProperties(p) {
  const found = {}
  if (!p) return found
  if (p.contentType !== undefined) found.content_type = p.contentType
  if (p.responseTopic !== undefined) found.response_topic = p.responseTopic
  if (p.correlationData !== undefined) found.correlation = p.correlationData.toString()
  if (p.messageExpiryInterval !== undefined) found.expiry = p.messageExpiryInterval
  if (p.payloadFormatIndicator !== undefined) found.payload_format = p.payloadFormatIndicator ? 1 : 0
  if (p.subscriptionIdentifier !== undefined) found.subscription = [].concat(p.subscriptionIdentifier)[0]
  if (p.userProperties !== undefined) {
    found.user = []
    for (const name of Object.keys(p.userProperties)) {
      for (const value of [].concat(p.userProperties[name])) found.user.push([name, value])
    }
  }
  return found
}

function describe(payload) {
  if (payload.length > 1000) {
    return { size: payload.length, sha256: crypto.createHash('sha256').update(payload).digest('hex') }
  }
  return { payload: payload.toString() }
}

const commands = {
  connect(c) {
    const [host, port] = c.addr.split(':')
    const options = {
      host,
      port: Number(port),
      protocolVersion: c.version,
      clientId: c.id,
      clean: c.clean,
      keepalive: c.keepalive,
      reconnectPeriod: 200,
      connectTimeout: 20000
    }
    if (c.user) {
      options.username = c.user
      options.password = c.password
    }
    if (c.over) {
      options.protocol = { tls: 'mqtts', ws: 'ws', wss: 'wss' }[c.over]
      if (c.over !== 'tls') options.path = '/mqtt'
      if (c.ca) options.ca = fs.readFileSync(c.ca)
      if (c.ca && c.over === 'wss') options.wsOptions = { ca: options.ca }
    }
    if (c.version === 5) {
      options.properties = {}
      if (c.expiry) options.properties.sessionExpiryInterval = c.expiry
    }
    if (c.will) {
      options.will = { topic: c.will.topic, payload: c.will.payload, qos: c.will.qos, retain: !!c.will.retain }
      if (c.version === 5) {
        options.will.properties = toProperties(c.will.properties) || {}
        if (c.will.delay) options.will.properties.willDelayInterval = c.will.delay
      }
    }
    client = mqtt.connect(options)
    client.on('connect', (ack) => say({
      event: 'connected', present: !!ack.sessionPresent, code: ack.reasonCode || ack.returnCode || 0
    }))
    client.on('close', () => say({ event: 'disconnected' }))
    // What a socket says when the broker goes away is no failure: MQTT.js connects
    // again by itself.
    client.on('error', (err) => {
      if (!['ECONNREFUSED', 'ECONNRESET', 'EPIPE'].includes(err.code)) say({ event: 'failed', text: String(err) })
    })
    client.on('message', (topic, payload, packet) => say({
      event: 'message', topic, qos: packet.qos, retain: packet.retain, dup: packet.dup,
      properties: fromProperties(packet.properties), ...describe(payload)
    }))
  },
  subscribe(c) {
    const options = { qos: c.qos }
    if (c.options) {
      options.nl = !!c.options.no_local
      options.rap = !!c.options.retain_as_published
      options.rh = c.options.retain_handling || 0
      if (c.options.subscription) options.properties = { subscriptionIdentifier: c.options.subscription }
    }
    client.subscribe(c.filter, options, (err, granted, packet) => {
      if (err && !packet) say({ event: 'failed', text: String(err) })
      else say({ event: 'subscribed', codes: packet ? packet.granted : granted.map((g) => g.qos) })
    })
  },
  unsubscribe(c) {
    client.unsubscribe(c.filter, (err) => say(err ? { event: 'failed', text: String(err) } : { event: 'unsubscribed' }))
  },
  publish(c) {
    let payload = c.payload || ''
    if (c.size) payload = payload.repeat(Math.floor(c.size / Math.max(1, payload.length)) + 1).slice(0, c.size)
    const options = { qos: c.qos, retain: !!c.retain }
    if (c.properties) options.properties = toProperties(c.properties)
    client.publish(c.topic, payload, options, (err) => say(err ? { event: 'failed', text: String(err) } : { event: 'published' }))
  },
  count(c) {
    // Not all at once: a value is published when one of those before is done.
    let next = c.from
    const more = () => {
      if (next > c.to) return
      const value = next++
      client.publish(c.topic, String(value), { qos: c.qos }, (err) => {
        say(err ? { event: 'failed', text: String(err) } : { event: 'acked', value })
        more()
      })
    }
    for (let i = 0; i < 20; i++) more()
  },
  drop() {
    client.stream.destroy()
  },
  disconnect() {
    client.end(false, () => say({ event: 'left' }))
  }
}

readline.createInterface({ input: process.stdin })
  .on('line', (line) => {
    const c = JSON.parse(line)
    commands[c.command](c)
  })
  .on('close', () => process.exit(0))
