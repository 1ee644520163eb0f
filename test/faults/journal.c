/*
 * Preloaded into a program, writes down in order what it asks of the file system below one folder: enough to tell what a
 * power cut at any moment may leave of it. Read by disk-journal.ts; changes nothing of what the program does.
 *
 * SIGILWATCH_JOURNAL_ROOT: the folder, absolute. SIGILWATCH_JOURNAL: the file that is appended to.
 *
 * A record: kind (1 byte), lengths of two byte strings (4 bytes each), two numbers (8 bytes each), the two strings. Copying within
 * the kernel (FICLONE, copy_file_range) is said not to be possible, so that it is done in ways that are seen.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define MAX_FDS 65536
#define REAL(name) ((__typeof__(&name))real(#name))

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *root, *preloaded, *written_to;
static size_t root_length;
static int journal = -1;
static unsigned char followed[MAX_FDS];

static void *real(const char *name) { return dlsym(RTLD_NEXT, name); }

__attribute__((constructor)) static void begin(void) {
  const char *path = getenv("SIGILWATCH_JOURNAL");
  root = getenv("SIGILWATCH_JOURNAL_ROOT");
  if (path == NULL || root == NULL) return;
  root = strdup(root);
  written_to = strdup(path);
  preloaded = strdup(getenv("LD_PRELOAD"));
  root_length = strlen(root);
  journal = REAL(open)(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static int below(const char *path) {
  return journal >= 0 && path != NULL && strncmp(path, root, root_length) == 0 &&
         (path[root_length] == '/' || path[root_length] == '\0');
}

static int64_t key(int fd) { return (int64_t)getpid() * MAX_FDS + fd; }
static int is_followed(int fd) { return fd >= 0 && fd < MAX_FDS && followed[fd]; }

static void note(char kind, const void *a, uint32_t a_length, const void *b, uint32_t b_length, int64_t x, int64_t y) {
  struct { uint32_t a, b; int64_t x, y; } __attribute__((packed)) head = {a_length, b_length, x, y};
  struct iovec parts[] = {{&kind, 1}, {&head, sizeof head}, {(void *)a, a_length}, {(void *)b, b_length}};
  if (REAL(writev)(journal, parts, 4) != (ssize_t)(1 + sizeof head + a_length + b_length)) abort();
}

static void note_paths(char kind, const char *a, const char *b) {
  note(kind, a, strlen(a), b, b == NULL ? 0 : strlen(b), 0, 0);
}

static int opened(int fd, const char *path, int flags) {
  if (fd < 0 || fd >= MAX_FDS) return fd;
  followed[fd] = below(path);
  if (followed[fd]) {
    int64_t how = ((flags & O_CREAT) != 0) | ((flags & O_TRUNC) != 0) << 1;
    note('o', path, strlen(path), NULL, 0, key(fd), how);
  }
  return fd;
}

#define MODE_ARGUMENT                  \
  mode_t mode = 0;                     \
  if (flags & (O_CREAT | O_TMPFILE)) { \
    va_list rest;                      \
    va_start(rest, flags);             \
    mode = va_arg(rest, mode_t);       \
    va_end(rest);                      \
  }
#define LOCKED(type, call, then)        \
  pthread_mutex_lock(&lock);            \
  type result = call;                   \
  if (result >= 0) { then; }            \
  pthread_mutex_unlock(&lock);          \
  return result

#define OPEN(name)                                                                         \
  int name(const char *path, int flags, ...) {                                             \
    MODE_ARGUMENT                                                                          \
    LOCKED(int, REAL(name)(path, flags, mode), opened(result, path, flags));               \
  }
OPEN(open)
OPEN(open64)
#define OPENAT(name)                                                                       \
  int name(int dir, const char *path, int flags, ...) {                                    \
    MODE_ARGUMENT                                                                          \
    LOCKED(int, REAL(name)(dir, path, flags, mode), opened(result, path, flags));          \
  }
OPENAT(openat)
OPENAT(openat64)

int close(int fd) {
  if (fd >= 0 && fd < MAX_FDS) followed[fd] = 0;
  return REAL(close)(fd);
}

/* What cannot be positioned took over the number of a file (dup2), and is none. */
static void wrote(int fd, const void *bytes, ssize_t length, off_t at) {
  if (is_followed(fd) && length > 0 && at >= 0) note('w', bytes, length, NULL, 0, key(fd), at);
}

static void wrote_parts(int fd, const struct iovec *parts, int count, ssize_t length, off_t at) {
  for (int i = 0; i < count && length > 0; i++) {
    ssize_t part = (ssize_t)parts[i].iov_len < length ? (ssize_t)parts[i].iov_len : length;
    wrote(fd, parts[i].iov_base, part, at);
    at += part;
    length -= part;
  }
}

ssize_t write(int fd, const void *bytes, size_t length) {
  if (!is_followed(fd)) return REAL(write)(fd, bytes, length);
  LOCKED(ssize_t, REAL(write)(fd, bytes, length), wrote(fd, bytes, result, lseek(fd, 0, SEEK_CUR) - result));
}
ssize_t writev(int fd, const struct iovec *parts, int count) {
  if (!is_followed(fd)) return REAL(writev)(fd, parts, count);
  LOCKED(ssize_t, REAL(writev)(fd, parts, count),
         wrote_parts(fd, parts, count, result, lseek(fd, 0, SEEK_CUR) - result));
}

/* LevelDB writes by streams, whose own calls nobody can take the place of: what goes into one is written at once. */
#define FOPEN(name)                                                                        \
  FILE *name(const char *path, const char *mode) {                                         \
    pthread_mutex_lock(&lock);                                                             \
    FILE *file = REAL(name)(path, mode);                                                   \
    int flags = (mode[0] == 'r' ? 0 : O_CREAT) | (mode[0] == 'w' ? O_TRUNC : 0);           \
    if (file != NULL) opened(fileno(file), path, flags);                                   \
    pthread_mutex_unlock(&lock);                                                           \
    return file;                                                                           \
  }
FOPEN(fopen)
FOPEN(fopen64)
#define FWRITE(name)                                                                       \
  size_t name(const void *bytes, size_t size, size_t count, FILE *file) {                  \
    if (!is_followed(fileno(file))) return REAL(name)(bytes, size, count, file);           \
    for (size_t done = 0; done < size * count;) {                                          \
      ssize_t part = write(fileno(file), (const char *)bytes + done, size * count - done); \
      if (part < 0) return done / size;                                                    \
      done += part;                                                                        \
    }                                                                                      \
    return count;                                                                          \
  }
#undef fwrite_unlocked
FWRITE(fwrite)
FWRITE(fwrite_unlocked)
int fputs(const char *text, FILE *file) {
  return fwrite(text, 1, strlen(text), file) == strlen(text) ? 0 : EOF;
}
static int printed(FILE *file, const char *format, va_list values) {
  char *text;
  int length = vasprintf(&text, format, values);
  if (length < 0) return length;
  size_t done = fwrite(text, 1, length, file);
  free(text);
  return done == (size_t)length ? length : -1;
}
#define PRINTED                                \
  {                                            \
    va_list values;                            \
    va_start(values, format);                  \
    int length = printed(file, format, values); \
    va_end(values);                            \
    return length;                             \
  }
int vfprintf(FILE *file, const char *format, va_list values) { return printed(file, format, values); }
int __vfprintf_chk(FILE *file, int flag, const char *format, va_list values) {
  (void)flag;
  return printed(file, format, values);
}
int fprintf(FILE *file, const char *format, ...) PRINTED
int __fprintf_chk(FILE *file, int flag, const char *format, ...) { (void)flag; PRINTED }
int fclose(FILE *file) {
  int fd = fileno(file);
  if (fd >= 0 && fd < MAX_FDS) followed[fd] = 0;
  return REAL(fclose)(file);
}

#define PWRITE(name)                                                                       \
  ssize_t name(int fd, const void *bytes, size_t length, off_t at) {                       \
    if (!is_followed(fd)) return REAL(name)(fd, bytes, length, at);                        \
    LOCKED(ssize_t, REAL(name)(fd, bytes, length, at), wrote(fd, bytes, result, at));      \
  }
PWRITE(pwrite)
PWRITE(pwrite64)
#define PWRITEV(name)                                                                      \
  ssize_t name(int fd, const struct iovec *parts, int count, off_t at) {                   \
    if (!is_followed(fd)) return REAL(name)(fd, parts, count, at);                         \
    LOCKED(ssize_t, REAL(name)(fd, parts, count, at), wrote_parts(fd, parts, count, result, at)); \
  }
PWRITEV(pwritev)
PWRITEV(pwritev64)
/* What is sent from one file to another is read again from where it came from. */
static void copied(int out, int in, off_t from, off_t to, ssize_t length) {
  if (!is_followed(out) || length <= 0) return;
  char *bytes = malloc(length);
  if (bytes == NULL || pread(in, bytes, length, from) != length) abort();
  wrote(out, bytes, length, to);
  free(bytes);
}
#define SENDFILE(name)                                                                     \
  ssize_t name(int out, int in, off_t *offset, size_t count) {                             \
    off_t from = offset != NULL ? *offset : lseek(in, 0, SEEK_CUR);                        \
    off_t to = is_followed(out) ? lseek(out, 0, SEEK_CUR) : 0;                             \
    LOCKED(ssize_t, REAL(name)(out, in, offset, count), copied(out, in, from, to, result)); \
  }
SENDFILE(sendfile)
SENDFILE(sendfile64)
/* libuv calls copy_file_range by its number, and falls back to sendfile. */
long syscall(long number, ...) {
  va_list rest;
  va_start(rest, number);
  long a[6];
  for (int i = 0; i < 6; i++) a[i] = va_arg(rest, long);
  va_end(rest);
  if (number == SYS_copy_file_range && is_followed(a[2])) {
    errno = ENOSYS;
    return -1;
  }
  return REAL(syscall)(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
int ioctl(int fd, unsigned long request, ...) {
  va_list rest;
  va_start(rest, request);
  void *argument = va_arg(rest, void *);
  va_end(rest);
  if (request == FICLONE && is_followed(fd)) {
    errno = EOPNOTSUPP;
    return -1;
  }
  return REAL(ioctl)(fd, request, argument);
}

#define FTRUNCATE(name)                                                                    \
  int name(int fd, off_t size) {                                                           \
    if (!is_followed(fd)) return REAL(name)(fd, size);                                     \
    LOCKED(int, REAL(name)(fd, size), note('t', NULL, 0, NULL, 0, key(fd), size));         \
  }
FTRUNCATE(ftruncate)
FTRUNCATE(ftruncate64)

/* What was written before it began is on disk when it ends; others go on writing meanwhile. */
#define SYNC(name)                                                                         \
  int name(int fd) {                                                                       \
    if (!is_followed(fd)) return REAL(name)(fd);                                           \
    pthread_mutex_lock(&lock);                                                             \
    note('b', NULL, 0, NULL, 0, key(fd), (int64_t)pthread_self());                         \
    pthread_mutex_unlock(&lock);                                                           \
    LOCKED(int, REAL(name)(fd), note('e', NULL, 0, NULL, 0, key(fd), (int64_t)pthread_self())); \
  }
SYNC(fsync)
SYNC(fdatasync)

#define TWO_PATHS(name, kind)                                                              \
  int name(const char *from, const char *to) {                                             \
    if (!below(from) && !below(to)) return REAL(name)(from, to);                           \
    LOCKED(int, REAL(name)(from, to), note_paths(kind, from, to));                         \
  }
TWO_PATHS(rename, 'r')
TWO_PATHS(link, 'l')
#define ONE_PATH(name, kind)                                                               \
  int name(const char *path) {                                                             \
    if (!below(path)) return REAL(name)(path);                                             \
    LOCKED(int, REAL(name)(path), note_paths(kind, path, NULL));                           \
  }
ONE_PATH(unlink, 'u')
ONE_PATH(rmdir, 'u')
ONE_PATH(remove, 'u')

int mkdir(const char *path, mode_t mode) {
  if (!below(path)) return REAL(mkdir)(path, mode);
  LOCKED(int, REAL(mkdir)(path, mode), note_paths('m', path, NULL));
}

int unlinkat(int dir, const char *path, int flags) {
  char whole[PATH_MAX * 2], link_path[64];
  const char *name = path;
  if (path[0] != '/' && dir != AT_FDCWD) {
    snprintf(link_path, sizeof link_path, "/proc/self/fd/%d", dir);
    ssize_t length = readlink(link_path, whole, PATH_MAX - 1);
    if (length > 0) {
      snprintf(whole + length, sizeof whole - length, "/%s", path);
      name = whole;
    }
  }
  if (!below(name)) return REAL(unlinkat)(dir, path, flags);
  LOCKED(int, REAL(unlinkat)(dir, path, flags), note_paths('u', name, NULL));
}

/* Programs that are handed nothing of the environment are followed all the same; what they start in turn inherits it. */
int execvp(const char *file, char *const arguments[]) {
  if (journal >= 0) {
    setenv("LD_PRELOAD", preloaded, 1);
    setenv("SIGILWATCH_JOURNAL_ROOT", root, 1);
    setenv("SIGILWATCH_JOURNAL", written_to, 1);
  }
  return REAL(execvp)(file, arguments);
}
