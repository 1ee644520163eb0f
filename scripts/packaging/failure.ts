/** Why nothing could be packaged, told to whoever asked for it without a stack. */
export class PackagingError extends Error {}
