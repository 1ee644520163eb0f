/** What identifies one state of one file. */
export interface FileStamp {
  readonly bytes: number;
  /** The same for one file while it exists, however it grows. */
  readonly identity: string;
  /** Changes with size, modification and status-change time, so with every edit of the content. */
  readonly fingerprint: string;
}

/** An open file. Reads see the bytes of the file that was opened even after its name is gone. */
export interface StoreFile extends FileStamp {
  readonly name: string;
  /**
   * Fills `target` from `position`; resolves to the bytes read, fewer than asked for only at the end of the file.
   * @throws AppError `store.unreadable` when the disk refuses
   */
  read(target: Buffer, position: number): Promise<number>;
  close(): Promise<void>;
}

/**
 * The files of one LevelDB folder that another process is writing to. An implementation never writes, locks, renames,
 * links or maps anything, in the folder or elsewhere.
 */
export interface StoreFiles {
  /** Where the store is, for messages. */
  readonly path: string;
  /** @throws AppError `store.missing` when there is no such folder, `store.unreadable` when it cannot be listed */
  list(): Promise<readonly string[]>;
  /** Null when there is no such file. @throws AppError `store.unreadable` */
  stamp(name: string): Promise<FileStamp | null>;
  /** Null when there is no such file. @throws AppError `store.unreadable` */
  open(name: string): Promise<StoreFile | null>;
}
