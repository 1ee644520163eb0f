import { alertLimits } from './alert-limits.ts';
import { artifactLimits } from './artifact-limits.ts';
import { authLimits } from './auth-limits.ts';
import { budgetLimits } from './budget-limits.ts';
import { bundleLimits } from './bundle-limits.ts';
import { doctorLimits } from './doctor-limits.ts';
import { enforcementLimits } from './enforcement-limits.ts';
import { eventLimits } from './event-limits.ts';
import { executorLimits } from './executor-limits.ts';
import { httpLimits } from './http-limits.ts';
import { integrityLimits } from './integrity-limits.ts';
import { jobLimits } from './job-limits.ts';
import { tableLimits } from './table-limits.ts';
import { witnessLimits } from './witness-limits.ts';

/**
 * Every bound in the system, with its unit in the name. A limit that an operator may change is a setting whose default
 * is taken from here.
 */
export const limits = {
  ...enforcementLimits,
  ...artifactLimits,
  ...httpLimits,
  ...doctorLimits,
  ...authLimits,
  ...budgetLimits,
  ...bundleLimits,
  ...witnessLimits,
  /** C2SP tlog-tiles carries each log entry behind a 16-bit length, so no leaf may be longer. */
  maxLeafBytes: 65_535,
  /** Canonical bytes of one entry; leaves room for the signature in a leaf. */
  maxEntryBytes: 60_000,
  /** A checkpoint with its cosignatures, some 130 characters per witness. */
  maxNoteChars: 1024 * 1024,
  /** A policy file, some 200 bytes per witness. */
  maxPolicyBytes: 4 * 1024 * 1024,
  /** Containers in one `observed` entry, as JSON; more are split over several entries. */
  maxObservedBytes: 48_000,
  /** A string from outside (container name, label, store key) is cut to this before it enters an entry. */
  maxForeignTextChars: 512,
  /** Reasons, notes and versions written by Sigilwatch itself. */
  maxOwnTextChars: 2_000,

  /** One `append` message. */
  maxAppendEntries: 200,
  /** Canonical bytes; escaping inside a frame at most doubles them, which must still fit into `maxFrameBytes`. */
  maxAppendBytes: 480 * 1024,
  /** Batches an agent may have under way before it waits for an ack. */
  maxAppendsInFlight: 4,
  maxFrameBytes: 1024 * 1024,
  /** For an agent to prove its key. */
  handshakeTimeoutMs: 10_000,
  /** From an agent's first packet to its welcome: others may have come at the same moment. */
  welcomeTimeoutMs: 20_000,
  /** Agents whose proofs are checked, and whose welcomes are made, at once: few of `databaseConnections`, the rest is for appends. */
  proofsAtOnce: 2,
  welcomesAtOnce: 4,
  ackTimeoutMs: 20_000,
  /** How often a collector looks which nodes it holds, and tells it again although nothing has changed; what counts no more. */
  presenceLookMs: 1_000,
  presenceEveryMs: 10_000,
  presenceStaleMs: 30_000,
  pingIntervalMs: 15_000,
  pongTimeoutMs: 10_000,
  /** How long an older session under the same key gets to answer before a newcomer replaces it. */
  incumbentProbeMs: 2_000,
  /** Entries per second one agent may send, sustained, and how many seconds' worth it may send in one burst. */
  maxEntriesPerSecondPerNode: 5_000,
  entryBurstSeconds: 10,
  /**
   * Of a frame's bytes so many per entry are paid for by the rate in entries: more than ordinary entries take. What is
   * beyond it, of entries full of containers, costs the collector by its size and has a rate of its own; the burst lets
   * the first baseline of a node with ten thousand containers through.
   */
  freeFrameBytesPerEntry: 1_536,
  maxExcessBytesPerSecondPerNode: 512 * 1024,
  excessBurstBytes: 4 * 1024 * 1024,
  /** Pieces one frame may come in; a frame of one-byte pieces costs far more memory than its size. */
  maxFrameFragments: 1_024,
  /**
   * Sockets that have not proved a key yet; beyond it, the address that holds the most of them loses its oldest. A fleet that was cut
   * off comes back in one instant, and behind one address: whoever is sent away then only comes again.
   */
  maxUnauthenticatedSockets: 1_024,
  /** What such a socket may send, in bytes: a greeting with the checkpoint it holds, and a proof. A frame that does not end is not waited for. */
  maxStrangerBytes: 32 * 1024,
  /** How long a closing handshake may take before the socket is cut. */
  closeTimeoutMs: 1_000,
  /** How long one frame may take to leave for a peer that does not read. */
  sendTimeoutMs: 20_000,
  /** How long a batch is offered to a ledger that is busy; below `ackTimeoutMs`, so that the agent hears why. */
  ledgerBusyMs: 10_000,
  ledgerBusyRetryMinMs: 20,
  ledgerBusyRetryMaxMs: 1_000,
  /** Of the answer to an upgrade that a collector turned away. */
  maxUpgradeRefusalChars: 8_192,
  /** Longest text in a `refused` message. */
  maxRefusalChars: 1_000,

  /** How often the collector looks at the manifest. */
  manifestPollMs: 60_000,
  /** How long a command waits for an answer of the API: of a look at the manifest, git may take `gitTimeoutMs` for each of a few questions. */
  apiAnswerTimeoutMs: 60_000,
  /** What a node pays of its rate in entries for saying which commit it has: git is asked about it. */
  holdsCostEntries: 1_000,
  /** How often an agent that stands by a fork looks whether it was released. */
  witnessReleasePollMs: 1_000,

  /** Group commit: wait this long for company, take at most this many. */
  groupCommitWaitMs: 2,
  groupCommitMaxEntries: 3_000,
  /** Canonical bytes; everybody in a group waits for all of it. */
  groupCommitMaxBytes: 2 * 1024 * 1024,
  /** Groups being written; the next one is laid out on top of them. */
  groupCommitsInFlight: 2,
  /** A group of fewer entries waits for those being written and grows meanwhile: a transaction has costs of its own. */
  groupCommitAheadEntries: 1_000,
  /** Entries that are laid out before the process deals with what has come in meanwhile: some milliseconds. */
  layOutMaxEntries: 200,
  /**
   * Consecutive entries that stand in one row of the ledger, at most (`0027_entry_runs.sql`): how many, how many bytes of leaves, which
   * fill a page of the database, and from the first one's time to the last one's.
   */
  runMaxEntries: 32,
  runMaxBytes: 7_900,
  runMaxMs: 60 * 60 * 1_000,
  /** Entries waiting for the sequencer before sessions are told to slow down. */
  sequencerQueueMaxEntries: 20_000,
  /** Full tiles of 8 KiB kept in memory for proofs. */
  tileCacheTiles: 512,
  /** A checkpoint file is synced to the disk at least this often while checkpoints are published. */
  checkpointFileSyncMs: 1_000,
  /** Checkpoints of agents that are remembered as found in the ledger. */
  confrontedCheckpoints: 256,
  /** How long an erasure makes others wait before it lets them go first, how often it tries, and what lies between. */
  erasureLockWaitMs: 500,
  erasureLockTries: 60,
  erasureLockPauseMs: 1_000,
  /** Looks for what retention lets go; later by up to a tenth, so that collectors do not look at once. */
  retentionIntervalMs: 86_400_000,
  retentionRetryMs: 3_600_000,
  /** By how much the collector's clock and the database's may differ where age decides what goes. */
  retentionMaxClockGapMs: 3_600_000,
  /** How often a collector looks whether its clock was set, and for how long nothing is deleted by age after it was. */
  clockLookMs: 60_000,
  deletionsHeldMs: 86_400_000,
  /** Whoever was not looked after for longer may have a clock that was set meanwhile. */
  clockMaxAbsenceMs: 7 * 86_400_000,
  /** Entries that `ledger recover` puts back in one step. */
  recoverBatchEntries: 500,
  /** Stretches without body in one export; an erasure leaves one for each body it keeps. */
  maxExportGaps: 262_144,
  /** Of everything that is wrong with an exported file, this much is told one by one. */
  shownFaults: 10,
  /** One line of an export: an entry with every character escaped, and its proof. */
  maxExportLineChars: 1024 * 1024,
  /** A proof file without its checkpoint: a leaf in base64, and 53 hashes. */
  maxProofFileBytes: 128 * 1024,
  /** The same as bytes of UTF-8; the last line holds a checkpoint with all its cosignatures. */
  maxExportLineBytes: 4 * 1024 * 1024,
  /** Entry bundles in memory, so that whoever follows the log does not read the database anew; 16 MiB is the largest bundle. */
  bundleCacheBytes: 32 * 1024 * 1024,
  /** How long: what another process has erased is given out for this much longer at most. */
  bundleKeptMs: 10_000,
  bundlesReadAtOnce: 4,
  /** Tiles and bundles that are looked up at once for whoever reads the log over HTTP; the rest of the pool is for appends. */
  tilesServedAtOnce: 4,
  /** Bundles compressed at once, on the thread pool that also checks signatures; meanwhile others get theirs as it is. */
  bundlesCompressedAtOnce: 2,
  /** Answers under way to readers of a log that is open to everybody: in all, to one address, in bytes, and for how long. */
  openLogAnswers: 256,
  openLogAnswersPerAddress: 64,
  openLogAnswerBytes: 128 * 1024 * 1024,
  openLogAnswerTimeoutMs: 30_000,
  /** Cosignatures on the served checkpoint, unless the quorum needs more: Go's x/mod refuses notes with over 100 signatures. */
  servedCosignatures: 99,
  /** A refused entry up to this length is kept word for word as evidence. */
  maxEvidenceChars: 16_000,
  /** Evidence put on record against one node, by each collector for itself. */
  maxEquivocationsToldPerNode: 100,

  scanIntervalMs: 60_000,
  /** A report whose scan started later than this after its minute is `late`. */
  lateScanMs: 15_000,
  /** Difference between the node's and the collector's clock from which scans count as `clock-suspect`. */
  clockSuspectMs: 30_000,
  inspectConcurrency: 8,
  gitTimeoutMs: 20_000,
  /** Commits that the collector hands to a node: one bundle, and what git may ask for in one piece while it reads it. */
  maxOfferedBundleBytes: 16 * 1024 * 1024,
  maxOfferedObjectBytes: 64 * 1024 * 1024,
  /** The same for commits that the node's own operator brings, on a stick or in a local repository. */
  maxLocalBundleBytes: 256 * 1024 * 1024,
  maxLocalObjectBytes: 512 * 1024 * 1024,
  /** What a bundle says of itself before the objects begin. */
  maxBundleHeaderBytes: 64 * 1024,
  /** Commits that one bundle builds on, each of which is looked up. */
  maxBundlePrerequisites: 64,
  /** A commit without its files: message, signature and parents. */
  maxCommitBytes: 256 * 1024,
  /** Bundles brought to a node that wait for the agent's next look. */
  maxWaitingBundles: 16,
  /** A commit that was refused is judged anew after this long at the latest: keys come into force and go out of it. */
  refusedCommitMs: 3_600_000,
  /** Bundles of commits that the collector keeps ready, for nodes that hold different ones. */
  maxReadyBundles: 8,
  /** How often new entries are committed to the mirror of the ledger, and how many in one commit. */
  mirrorIntervalMs: 60_000,
  maxMirrorBatchEntries: 10_000,
  /** Files of a batch that nobody has touched for this long belong to a process that is gone. */
  mirrorLeftoverMs: 3_600_000,
  /** A listing of a folder in the mirror's repository, whose top may hold other people's files. */
  maxMirrorListBytes: 16 * 1024 * 1024,
  /** Manifest and compose files together. Escaped as JSON they at most double, and must still fit into one record beside the outbox. */
  maxManifestBytes: 480 * 1024,
  /** One part of a git bundle on its way to an agent, in base64. */
  maxBundleChars: 900 * 1024,
  /** Files in the folder of the compose files. */
  maxComposeFiles: 500,
  maxComposeContainers: 5_000,
  /** Configuration of all containers that compose files want, as JSON. */
  maxWantedChars: 4 * 1024 * 1024,
  /** Of everything that is wrong with a manifest, this much is told at once. */
  maxManifestMistakes: 100,
  /** A key longer than this is no misspelt one. */
  maxMisspeltChars: 64,
  /** How often what runs is tried to be written into a manifest, with fewer changes each time, before the rest is left alone. */
  maxAdoptAttempts: 200,
  /** Parts of a manifest that nothing reads. */
  maxFreeFormValues: 10_000,
  maxFreeFormDepth: 16,
  /** Any period in a manifest that has no closer bound. */
  maxManifestPeriodMs: 36_500 * 86_400_000,
  minCheckIntervalMs: 1_000,
  maxRetentionDays: 36_500,
  /** Before a rule acts on a drift; a manifest that says nothing gets time to be corrected. */
  defaultGracePeriodMs: 300_000,
  maxGracePeriodMs: 30 * 86_400_000,
  maxReplicas: 10_000,
  defaultRollbackRetries: 3,
  maxRollbackRetries: 100,
  defaultRollbackDelayMs: 30_000,
  defaultBackupRetentionMs: 7 * 86_400_000,
  maxAlertReceivers: 100,
  maxAlertConditions: 1_000,
  maxMaintenanceWindows: 100,
  maxTimeZoneChars: 64,
  /** Statements an agent keeps in memory while its journal refuses them. */
  maxOwedStatements: 256,
  /** Starts and finishes named in one `coverage.gap`. */
  maxRebuiltPerGap: 60,
  engineTimeoutMs: 10_000,
  /** What makes, starts or removes a container is work on the node's disk. */
  engineWorkTimeoutMs: 60_000,
  imageLoadTimeoutMs: 10 * 60_000,
  /** Images that one container ran as wanted with: so many are kept, and for how long once nobody wants the container any more. */
  goodImagesPerContainer: 3,
  goodImagesUnwantedMs: 30 * 86_400_000,
  /** Files mounted into containers whose content is compared: how large, how long one may keep others waiting, and how many are remembered. */
  maxMountedFileBytes: 4 * 1024 * 1024,
  mountedFileTimeoutMs: 5_000,
  mountedFilesRemembered: 10_000,
  /** A file that was changed less long ago is read again, whatever its times say. */
  mountedFileSettleMs: 2_000,
  /** Of what a container wrote, the end that is kept as evidence, and of what it changed, so many paths. */
  maxEvidenceLogBytes: 64 * 1024,
  maxEvidenceChanges: 1_000,
  /** What is read of an answer to find those; a container may have changed millions of files. */
  maxEvidenceAnswerBytes: 4 * 1024 * 1024,
  /** A container that was restarted so often, and so shortly ago, crashes again and again. */
  crashLoopRestarts: 3,
  crashLoopCalmMs: 60_000,
  /** Between being made and being started. */
  startWithinMs: 10_000,
  /** How often an open event stream is checked with a ping; a frozen engine keeps the socket open and says nothing. */
  enginePingIntervalMs: 5_000,
  /** Asking a local socket costs next to nothing, and every second not watched is a gap. */
  engineBackoffMaxMs: 2_000,
  /** One line of the engine's event stream; labels, which others choose, are part of it. */
  maxEngineEventBytes: 1024 * 1024,
  /** The engine remembers its last 256 events, so no more than that can be told twice. */
  engineEventsRemembered: 256,

  ...executorLimits,
  ...alertLimits,
  ...integrityLimits,
  ...jobLimits,
  ...eventLimits,
  ...tableLimits,

  outboxMaxBytes: 256 * 1024 * 1024,
  /** Share of the outbox kept free for what is not a periodic report. */
  outboxReservedShare: 0.2,
  /** Disk kept allocated so that a full disk still leaves room to say so. */
  outboxReserveFileBytes: 4 * 1024 * 1024,
  /** How long to leave a full disk alone before allocating that again is tried. */
  outboxReserveRetryMs: 1_000,
  /** One durable write of the outbox, which is what a group commit may gather. */
  outboxBatchMaxBytes: 1024 * 1024,
  /** Calls of `append` waiting for the disk before more are turned away. */
  outboxWaitingMaxCalls: 10_000,
  /** One step through the stored entries. */
  outboxPageEntries: 500,
  outboxPageBytes: 1024 * 1024,
  /** A block of an outbox table, uncompressed; holds at least one whole record. */
  outboxTableBlockMaxBytes: 1024 * 1024,
  /** Acknowledged bytes after which LevelDB is told to give their space back. */
  outboxCompactAfterBytes: 4 * 1024 * 1024,
  /** Refused statements recognised when they are tried again, so that they are counted once. */
  outboxRefusedRemembered: 256,
  /** Damaged outboxes kept as evidence. */
  outboxQuarantinesKept: 3,

  /** Findings an agent keeps open per store; more are only counted. */
  maxOpenFindingsPerStore: 500,
  findingsPerWrite: 50,
  /** A sigil scan gives the event loop a turn after this much work. */
  sigilScanSliceMs: 4,
  /** Bytes of a store file read at once. */
  sigilWindowBytes: 256 * 1024,
  /** One table block, compressed or not; LevelDB aims at 4 KiB, but a record is never split over blocks. */
  sigilMaxBlockBytes: 32 * 1024 * 1024,
  /** A longer record is a finding: what parsing takes is a multiple of it, and the agent is to stay small whatever a store holds. */
  sigilMaxRecordBytes: 4 * 1024 * 1024,
  /** And so is one of more values, within one another or not: an empty object of two bytes takes 56 in memory. */
  sigilMaxRecordValues: 250_000,
  /** One write batch in a log, or one edit in a MANIFEST. */
  sigilMaxLogRecordBytes: 32 * 1024 * 1024,
  /** Tables a MANIFEST may name, at 2 MiB each some 200 GiB; a larger one is taken for corrupt, not into memory. */
  sigilMaxTables: 100_000,
  /** A scan that has not got on for this long hangs in its disk: the store counts as unreadable meanwhile. */
  sigilStallMs: 60_000,
  /** Store files a scan holds open at once; each may keep the disk space of a table that the store has dropped. */
  sigilOpenFiles: 128,
  /** How often a scan goes on with a newer MANIFEST because files were compacted away under it; the next scan does the rest. */
  sigilScanRounds: 4,
  /** And takes a newer look so often without reading anything, when a file is gone before all are open. */
  sigilOpenAttempts: 50,
  /** How often a snapshot or a lookup starts over for the same reason. */
  sigilLookUpAttempts: 20,
  /** Tables an incremental scan remembers as checked; those of a larger store are checked again. */
  sigilMaxRememberedTables: 50_000,
  /** A full scan that was cut short is gone on with for so long after it was begun: not with last night's. */
  fullScanResumeMs: 20 * 3_600_000,
  /** What may have to be read again of it, and a sixteenth of what was read by then. */
  fullScanCheckpointBytes: 64 * 1024 * 1024,
  /** Acceptances of changed sigils that the agent has not taken up. */
  maxWaitingAcceptances: 1_000,
  /** Bad records whose current version is looked up together. */
  sigilConfirmBatch: 250,

  backoffMinMs: 500,
  backoffMaxMs: 60_000,

  databaseConnectTimeoutMs: 10_000,
  /** What each of several servers has to say whether it takes writes. */
  databaseAskTimeoutMs: 5_000,
  /** How long one that takes writes waits for the others to say the same. */
  databaseChoiceMs: 500,
  databaseStatementTimeoutMs: 30_000,
  databaseIdleMs: 30_000,
  /** A connection in use without a byte either way for so long has lost its server; longer than any statement may take. */
  databaseSilentMs: 40_000,
  /** When TCP asks the other side of a connection without traffic whether it is there; ten such questions, a second apart, end it. */
  databaseKeepAliveMs: 10_000,
  databaseConnections: 10,
  /** Starting includes replaying the write-ahead log after a power cut. */
  databaseStartTimeoutMs: 60_000,
  databaseStopTimeoutMs: 30_000,
  /** How often the LISTEN connection is asked whether it is still there. */
  databaseHeartbeatMs: 10_000,

  /** What an agent reads of the answer to its enrolment. */
  maxEnrolAnswerBytes: 16 * 1024,
  joinTokenTtlMs: 15 * 60_000,
  /** Enrolment requests one collector process answers per second; a door that needs no token but the join token. */
  maxEnrolmentsPerSecond: 20,
  maxRequestBodyBytes: 64 * 1024,
  pageSizeDefault: 100,
  pageSizeMax: 1_000,
  /** Drifts of one node that enforcement looks at; a node with more of them at once is not mended by orders. */
  maxOpenDriftsRead: 10_000,
  /** Of one node, one commit and one kind, so many of the newest drifts are counted. */
  maxDriftsOfCommitRead: 100,
  maxReplicasRead: 1_000,
  maxAnnouncementsRead: 1_000,
  /** What the collector and the node have said of an order: of either so many statements are shown. */
  maxOrderEventsRead: 200,
  /** Hex digits of an order's hash that are enough to name it. */
  minOrderPrefixChars: 8,
  maxSilenceMs: 30 * 86_400_000,
  /** How far ahead a change may be announced. */
  maxAnnouncedMs: 30 * 86_400_000,
  /** How far a backtest goes back. */
  defaultBacktestDays: 30,
  maxBacktestDays: 3_660,
  /** Actions that a backtest lists, and drifts that were held, and gaps; more are only counted. */
  maxBacktestListed: 50_000,
  /** A node that reports every minute and was not heard for so long is taken for cut off at that moment of the past. */
  backtestSilenceMs: 150_000,
  /** Manifests of earlier commits that a backtest keeps at hand. */
  backtestManifestsKept: 16,
  /** What the verification of a signature may take; making one may wait for a passphrase. */
  sshVerifyTimeoutMs: 10_000,
  sshSignTimeoutMs: 120_000,
  /** Answers about the fleet that are being read; one about the past may take a while, and others need the database too. */
  fleetReadsAtOnce: 2,
} as const;
