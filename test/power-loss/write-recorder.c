/*
 * Records what a process does to the files below one directory: LD_PRELOAD it.
 *
 * Every write, flush, truncation and change of a name is appended to a journal *before* it is done, a flush after it
 * is done, all under one lock, so that the journal's order is the order of the files' contents. What the process
 * writes to its standard output goes into the same journal, and so says what it had acknowledged by then. The journal
 * is written to the page cache and outlives the process, however it ends. write-record.ts reads it.
 *
 * The disk is a model: a flush sleeps for a while instead of flushing, and O_DSYNC is taken off. The file system
 * under the files can be anything.
 *
 * Not recorded: writes through a shared mapping. Mapping a file writable is recorded, and so is every call that is
 * not modelled; either makes the recording useless. `lock.mdb`, which lmdb maps writable and does not believe after
 * a restart, is left out.
 *
 * Environment: WRITE_RECORDER_WATCH directory (absolute, real path); WRITE_RECORDER_JOURNAL file, appended to;
 * WRITE_RECORDER_FIRST number of records that it holds; WRITE_RECORDER_FLUSH_US longest time of a flush; WRITE_RECORDER_SEED of these times; WRITE_RECORDER_BOOT_ID what
 * /proc/sys/kernel/random/boot_id reads as: after a power loss it is another one, and lmdb looks at it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum kind {
  KIND_FILE = 1,      /* names a file number; payload: path relative to the watched directory */
  KIND_CREATE = 2,    /* payload: path of a new file */
  KIND_MKDIR = 3,     /* payload: path of a new directory */
  KIND_RENAME = 4,    /* payload: from, NUL, to */
  KIND_REMOVE = 5,    /* payload: path of a file or of an empty directory */
  KIND_WRITE = 6,     /* file, position; payload: the bytes */
  KIND_TRUNCATE = 7,  /* file, position: the new size */
  KIND_FLUSH = 8,     /* file; position: writes of the file recorded before this one are on disk */
  KIND_FLUSH_DIR = 9, /* payload: path; position: its names changed before this record are on disk */
  KIND_SYNCED = 10,   /* file; position: number of the record of an O_DSYNC write, which is on disk */
  KIND_OUTPUT = 11,   /* payload: what was written to standard output */
  KIND_MAPPED = 12,   /* file; it was mapped shared and writable */
  KIND_UNKNOWN = 13,  /* payload: a call that is not modelled */
};

struct header {
  uint32_t kind;
  uint32_t file;
  uint64_t position;
  uint64_t length;
};

#define FDS 65536
#define NAME 512

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int journal = -1;
static int boot_fd = -1;
static const char *watch;
static size_t watch_length;
static const char *boot_id;
static uint64_t records;
static uint64_t flush_us;
static uint64_t random_state;
static uint32_t files;
/* Number of the file + 1; 0: not watched. */
static uint32_t file_of[FDS];
static unsigned char is_sync[FDS];
static unsigned char is_directory[FDS];
static char path_of_file[256][NAME];

__attribute__((constructor)) static void start(void) {
  const char *journal_path = getenv("WRITE_RECORDER_JOURNAL");
  watch = getenv("WRITE_RECORDER_WATCH");
  if (journal_path == NULL || watch == NULL) return;
  watch_length = strlen(watch);
  boot_id = getenv("WRITE_RECORDER_BOOT_ID");
  const char *longest = getenv("WRITE_RECORDER_FLUSH_US");
  const char *seed = getenv("WRITE_RECORDER_SEED");
  const char *first = getenv("WRITE_RECORDER_FIRST");
  records = first == NULL ? 0 : strtoull(first, NULL, 10);
  flush_us = longest == NULL ? 0 : strtoull(longest, NULL, 10);
  random_state = (seed == NULL ? 1 : strtoull(seed, NULL, 10)) * 2654435761u + 88172645463325252ull;
  journal = syscall(SYS_openat, AT_FDCWD, journal_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (journal < 0) {
    perror(journal_path);
    abort();
  }
}

static void put_all(const struct iovec *parts, int count) {
  struct iovec rest[2];
  memcpy(rest, parts, count * sizeof *parts);
  for (int i = 0; i < count;) {
    long written = syscall(SYS_writev, journal, rest + i, count - i);
    if (written < 0) {
      if (errno == EINTR) continue;
      abort();
    }
    while (i < count && (size_t)written >= rest[i].iov_len) written -= rest[i++].iov_len;
    if (i < count) {
      rest[i].iov_base = (char *)rest[i].iov_base + written;
      rest[i].iov_len -= written;
    }
  }
}

/* The lock is held. Returns the number of the record. */
static uint64_t record(enum kind kind, uint32_t file, uint64_t position, const void *bytes, size_t length) {
  struct header header = {kind, file, position, length};
  struct iovec parts[2] = {{&header, sizeof header}, {(void *)bytes, length}};
  put_all(parts, length == 0 ? 1 : 2);
  return records++;
}

static void record_unknown(const char *call) {
  pthread_mutex_lock(&lock);
  record(KIND_UNKNOWN, 0, 0, call, strlen(call));
  pthread_mutex_unlock(&lock);
}

static int watched(int fd) { return journal >= 0 && fd >= 0 && fd < FDS && file_of[fd] != 0; }

/* The part below the watched directory, which itself is ""; NULL: not below it. */
static const char *below(const char *path) {
  if (strncmp(path, watch, watch_length) != 0) return NULL;
  if (path[watch_length] == 0) return path + watch_length;
  return path[watch_length] == '/' ? path + watch_length + 1 : NULL;
}

static const char *path_of_fd(int fd, char *buffer, size_t size) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  long length = syscall(SYS_readlinkat, AT_FDCWD, link, buffer, size - 1);
  if (length < 0) return NULL;
  buffer[length] = 0;
  return below(buffer);
}

static int is_lock_file(const char *path) {
  size_t length = strlen(path);
  return length >= 8 && strcmp(path + length - 8, "lock.mdb") == 0;
}

/* The lock is held. */
static void pause_for_flush(void) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  uint64_t us = flush_us == 0 ? 0 : random_state % flush_us;
  pthread_mutex_unlock(&lock);
  struct timespec time = {us / 1000000, (us % 1000000) * 1000};
  if (us > 0) nanosleep(&time, NULL);
  pthread_mutex_lock(&lock);
}

/* The lock is held. */
static void watch_fd(int fd, int flags) {
  char buffer[4096];
  const char *path = path_of_fd(fd, buffer, sizeof buffer);
  if (path == NULL || is_lock_file(path)) return;
  if (fd >= FDS || strlen(path) >= NAME) abort();
  struct stat stat;
  if (fstat(fd, &stat) != 0) abort();
  if (S_ISDIR(stat.st_mode)) {
    is_directory[fd] = 1;
    return;
  }
  if ((flags & O_ACCMODE) == O_RDONLY) return;
  if (flags & O_APPEND) record(KIND_UNKNOWN, 0, 0, "O_APPEND", 8);
  uint32_t file = 0;
  while (file < files && strcmp(path_of_file[file], path) != 0) file++;
  if (file == files) {
    if (files == 256) abort();
    strcpy(path_of_file[files++], path);
    record(KIND_FILE, file, 0, path, strlen(path));
  }
  if (flags & O_TRUNC) record(KIND_TRUNCATE, file, 0, NULL, 0);
  is_sync[fd] = (flags & (O_DSYNC | O_SYNC)) != 0;
  file_of[fd] = file + 1;
}

static int open_file(int directory, const char *path, int flags, mode_t mode) {
  if (journal < 0) return syscall(SYS_openat, directory, path, flags, mode);
  if (strcmp(path, "/proc/sys/kernel/random/boot_id") == 0) {
    int fd = syscall(SYS_openat, directory, path, flags, mode);
    boot_fd = fd;
    return fd;
  }
  pthread_mutex_lock(&lock);
  int is_new = 0;
  if (flags & O_CREAT) is_new = syscall(SYS_faccessat, directory, path, F_OK) != 0;
  int fd = syscall(SYS_openat, directory, path, flags & ~(O_SYNC | O_DSYNC), mode);
  int error = errno;
  if (fd >= 0) {
    char buffer[4096];
    const char *name = is_new ? path_of_fd(fd, buffer, sizeof buffer) : NULL;
    if (name != NULL) record(KIND_CREATE, 0, 0, name, strlen(name));
    watch_fd(fd, flags);
  }
  pthread_mutex_unlock(&lock);
  errno = error;
  return fd;
}

#define OPEN(name)                                   \
  int name(const char *path, int flags, ...) {       \
    va_list arguments;                               \
    va_start(arguments, flags);                      \
    mode_t mode = va_arg(arguments, int);            \
    va_end(arguments);                               \
    return open_file(AT_FDCWD, path, flags, mode);   \
  }
#define OPENAT(name)                                 \
  int name(int directory, const char *path, int flags, ...) { \
    va_list arguments;                               \
    va_start(arguments, flags);                      \
    mode_t mode = va_arg(arguments, int);            \
    va_end(arguments);                               \
    return open_file(directory, path, flags, mode);  \
  }

int close(int fd) {
  if (fd >= 0 && fd < FDS) {
    if (fd == boot_fd) boot_fd = -1;
    file_of[fd] = 0;
    is_directory[fd] = 0;
  }
  return syscall(SYS_close, fd);
}

ssize_t read(int fd, void *buffer, size_t size) {
  if (fd < 0 || fd != boot_fd || boot_id == NULL) return syscall(SYS_read, fd, buffer, size);
  size_t length = strlen(boot_id);
  if (length > size) length = size;
  memcpy(buffer, boot_id, length);
  return length;
}

static ssize_t write_parts(int fd, const struct iovec *parts, int count, int64_t position) {
  size_t length = 0;
  for (int i = 0; i < count; i++) length += parts[i].iov_len;
  char *bytes = malloc(length == 0 ? 1 : length);
  if (bytes == NULL) abort();
  size_t at = 0;
  for (int i = 0; i < count; i++) {
    memcpy(bytes + at, parts[i].iov_base, parts[i].iov_len);
    at += parts[i].iov_len;
  }
  pthread_mutex_lock(&lock);
  int at_fd = position < 0;
  if (at_fd) position = syscall(SYS_lseek, fd, 0, SEEK_CUR);
  uint32_t file = file_of[fd] - 1;
  uint64_t number = record(KIND_WRITE, file, position, bytes, length);
  ssize_t written = syscall(SYS_pwrite64, fd, bytes, length, position);
  int error = errno;
  if (written != (ssize_t)length) record(KIND_UNKNOWN, 0, 0, "short write", 11);
  if (at_fd && written > 0) syscall(SYS_lseek, fd, written, SEEK_CUR);
  if (is_sync[fd]) {
    pause_for_flush();
    record(KIND_SYNCED, file, number, NULL, 0);
  }
  pthread_mutex_unlock(&lock);
  free(bytes);
  errno = error;
  return written;
}

static void record_output(const struct iovec *parts, int count) {
  pthread_mutex_lock(&lock);
  for (int i = 0; i < count; i++) record(KIND_OUTPUT, 0, 0, parts[i].iov_base, parts[i].iov_len);
  pthread_mutex_unlock(&lock);
}

ssize_t write(int fd, const void *bytes, size_t length) {
  struct iovec part = {(void *)bytes, length};
  if (watched(fd)) return write_parts(fd, &part, 1, -1);
  if (fd == STDOUT_FILENO && journal >= 0) record_output(&part, 1);
  return syscall(SYS_write, fd, bytes, length);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
  if (watched(fd)) return write_parts(fd, parts, count, -1);
  if (fd == STDOUT_FILENO && journal >= 0) record_output(parts, count);
  return syscall(SYS_writev, fd, parts, count);
}

static ssize_t pwrite_file(int fd, const void *bytes, size_t length, int64_t position) {
  struct iovec part = {(void *)bytes, length};
  if (watched(fd)) return write_parts(fd, &part, 1, position);
  return syscall(SYS_pwrite64, fd, bytes, length, position);
}

static ssize_t pwritev_file(int fd, const struct iovec *parts, int count, int64_t position) {
  if (watched(fd)) return write_parts(fd, parts, count, position);
  return syscall(SYS_pwritev, fd, parts, count, position, 0);
}

static int truncate_file(int fd, int64_t size) {
  if (!watched(fd)) return syscall(SYS_ftruncate, fd, size);
  pthread_mutex_lock(&lock);
  record(KIND_TRUNCATE, file_of[fd] - 1, size, NULL, 0);
  int result = syscall(SYS_ftruncate, fd, size);
  pthread_mutex_unlock(&lock);
  return result;
}

static int flush(int fd, long call) {
  if (journal >= 0 && fd >= 0 && fd < FDS && is_directory[fd]) {
    char buffer[4096];
    pthread_mutex_lock(&lock);
    const char *path = path_of_fd(fd, buffer, sizeof buffer);
    uint64_t before = records;
    pause_for_flush();
    if (path != NULL) record(KIND_FLUSH_DIR, 0, before, path, strlen(path));
    pthread_mutex_unlock(&lock);
    return 0;
  }
  if (!watched(fd)) return syscall(call, fd);
  pthread_mutex_lock(&lock);
  uint32_t file = file_of[fd] - 1;
  uint64_t before = records;
  pause_for_flush();
  record(KIND_FLUSH, file, before, NULL, 0);
  pthread_mutex_unlock(&lock);
  return 0;
}

int fsync(int fd) { return flush(fd, SYS_fsync); }
int fdatasync(int fd) { return flush(fd, SYS_fdatasync); }

static void *map_file(void *address, size_t length, int protection, int flags, int fd, int64_t position) {
  if (watched(fd) && (protection & PROT_WRITE) && (flags & MAP_SHARED)) {
    pthread_mutex_lock(&lock);
    record(KIND_MAPPED, file_of[fd] - 1, 0, NULL, 0);
    pthread_mutex_unlock(&lock);
  }
  return (void *)syscall(SYS_mmap, address, length, protection, flags, fd, position);
}

int mkdir(const char *path, mode_t mode) {
  const char *name = journal < 0 ? NULL : below(path);
  if (name == NULL) return syscall(SYS_mkdirat, AT_FDCWD, path, mode);
  pthread_mutex_lock(&lock);
  int result = syscall(SYS_mkdirat, AT_FDCWD, path, mode);
  int error = errno;
  if (result == 0) record(KIND_MKDIR, 0, 0, name, strlen(name));
  pthread_mutex_unlock(&lock);
  errno = error;
  return result;
}

int rename(const char *from, const char *to) {
  const char *from_name = journal < 0 ? NULL : below(from);
  const char *to_name = journal < 0 ? NULL : below(to);
  if (from_name == NULL && to_name == NULL) return syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
  pthread_mutex_lock(&lock);
  int result = syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
  int error = errno;
  if (result == 0) {
    char both[2 * NAME];
    if (from_name == NULL || to_name == NULL || strlen(from_name) >= NAME || strlen(to_name) >= NAME) abort();
    size_t length = strlen(from_name);
    memcpy(both, from_name, length + 1);
    memcpy(both + length + 1, to_name, strlen(to_name));
    record(KIND_RENAME, 0, 0, both, length + 1 + strlen(to_name));
    /* The former name may come to mean another file. */
    for (uint32_t file = 0; file < files; file++) {
      if (strcmp(path_of_file[file], from_name) == 0) path_of_file[file][0] = 0;
    }
  }
  pthread_mutex_unlock(&lock);
  errno = error;
  return result;
}

static int remove_name(const char *path, int flags) {
  const char *name = journal < 0 ? NULL : below(path);
  if (name == NULL) return syscall(SYS_unlinkat, AT_FDCWD, path, flags);
  pthread_mutex_lock(&lock);
  int result = syscall(SYS_unlinkat, AT_FDCWD, path, flags);
  int error = errno;
  if (result == 0) {
    record(KIND_REMOVE, 0, 0, name, strlen(name));
    for (uint32_t file = 0; file < files; file++) {
      if (strcmp(path_of_file[file], name) == 0) path_of_file[file][0] = 0;
    }
  }
  pthread_mutex_unlock(&lock);
  errno = error;
  return result;
}

int unlink(const char *path) { return remove_name(path, 0); }
int rmdir(const char *path) { return remove_name(path, AT_REMOVEDIR); }

int dup(int fd) {
  if (watched(fd)) record_unknown("dup");
  return syscall(SYS_dup, fd);
}

static int allocate(int fd, int mode, int64_t position, int64_t length) {
  if (watched(fd)) record_unknown("fallocate");
  return syscall(SYS_fallocate, fd, mode, position, length);
}

OPEN(open)
OPENAT(openat)
ssize_t pwrite(int fd, const void *bytes, size_t length, off_t position) {
  return pwrite_file(fd, bytes, length, position);
}
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t position) {
  return pwritev_file(fd, parts, count, position);
}
int ftruncate(int fd, off_t size) { return truncate_file(fd, size); }
void *mmap(void *address, size_t length, int protection, int flags, int fd, off_t position) {
  return map_file(address, length, protection, flags, fd, position);
}
int fallocate(int fd, int mode, off_t position, off_t length) { return allocate(fd, mode, position, length); }

#ifdef __GLIBC__
OPEN(open64)
OPENAT(openat64)
ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t position) {
  return pwrite_file(fd, bytes, length, position);
}
ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t position) {
  return pwritev_file(fd, parts, count, position);
}
int ftruncate64(int fd, off64_t size) { return truncate_file(fd, size); }
void *mmap64(void *address, size_t length, int protection, int flags, int fd, off64_t position) {
  return map_file(address, length, protection, flags, fd, position);
}
int fallocate64(int fd, int mode, off64_t position, off64_t length) { return allocate(fd, mode, position, length); }
#endif
