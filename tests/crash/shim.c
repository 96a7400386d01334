/* Sits between a program and libc (LD_PRELOAD): writes down what it asks of the disk, and makes the n-th request fail.
 *
 * Problem.  What a file holds after a power cut is not what was written to it: anything since the last fsync may have arrived in any
 * order, in part or not at all.  To try those states one needs the exact order of writes, syncs and acknowledgements; to try error
 * paths one needs a disk that fails on demand.  Choice: wrap the dozen libc calls through which both CPython and LMDB reach the disk.
 * Rejected: strace (slow, no injection), FUSE (needs a library at build time), device mapper (not in every kernel).
 *
 * Only paths that contain $SHIM_MATCH are looked at, $SHIM_SKIP (a substring, optional) is left out.
 *
 * Record, appended to $SHIM_LOG:  op u8 | path length u16 | offset u64 | data length u64 | path | data      (little endian)
 *   W buffered write   D write through an O_DSYNC descriptor   S fsync or fdatasync   T truncate (offset = new size)
 *   C created          R renamed (data = new path)             U unlinked             A acknowledgement: a write to descriptor 77
 * A record is made after its call returned, under one lock held across the call, so the log is the order in which things happened.
 *
 * Injection.  A class of calls (w d s t n: write, O_DSYNC write, sync, truncate and allocate, names) is armed by
 * shim_arm(class, n, errno, count, after): the n-th to (n+count-1)-th such call from now on fail with errno.  after=1: the call is
 * made first and then reported as failed, which is what "outcome unknown" means; after=2: and from then on every call fails, so that
 * nobody can take it back (LMDB tries to).  errno 0: a short write (half of it).
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define ACK_FD 77
static const char *match_text, *skip_text;
static int log_fd = -1;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct { long n, count; int err, after; } armed[256];
static long calls[256], failed_calls;

__attribute__((constructor)) static void start(void) {
  match_text = getenv("SHIM_MATCH");
  skip_text = getenv("SHIM_SKIP");
  const char *log = getenv("SHIM_LOG");
  if (log) {
    int fd = syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd >= 0) { log_fd = fcntl(fd, F_DUPFD_CLOEXEC, 700); syscall(SYS_close, fd); }
  }
}

/* ---- called by the program under test through ctypes ---- */
void shim_arm(int op, long n, int err, long count, int after) {
  pthread_mutex_lock(&lock);
  armed[op & 255].n = n; armed[op & 255].count = count; armed[op & 255].err = err; armed[op & 255].after = after;
  pthread_mutex_unlock(&lock);
}
void shim_disarm(void) { pthread_mutex_lock(&lock); memset(armed, 0, sizeof armed); pthread_mutex_unlock(&lock); }
long shim_calls(int op) { return calls[op & 255]; }
long shim_failed(void) { return failed_calls; }

/* ---- which descriptors and paths ---- */
static int wanted(const char *path) { return match_text && strstr(path, match_text) && !(skip_text && *skip_text && strstr(path, skip_text)); }

static int path_of(int fd, char *out) {
  char link[64]; char *p = link + sizeof link; unsigned v = fd;
  if (fd < 0 || fd == log_fd || !match_text) return 0;
  *--p = 0; do { *--p = '0' + v % 10; v /= 10; } while (v);
  p -= 14; memcpy(p, "/proc/self/fd/", 14);
  ssize_t k = syscall(SYS_readlink, p, out, 4095);
  if (k <= 0) return 0;
  out[k] = 0;
  return wanted(out);
}

static int absolute(int dir, const char *path, char *out) {
  if (path[0] == '/') { strncpy(out, path, 4095); out[4095] = 0; return wanted(out); }
  char base[4096] = "";
  if (dir == AT_FDCWD) { if (!getcwd(base, sizeof base)) return 0; }
  else { char link[64]; strcpy(link, "/proc/self/fd/"); char *p = link + 14; int v = dir, n = 0; char d[12];
         do { d[n++] = '0' + v % 10; v /= 10; } while (v); while (n) *p++ = d[--n]; *p = 0;
         ssize_t k = syscall(SYS_readlink, link, base, 4095); if (k <= 0) return 0; base[k] = 0; }
  if (strlen(base) + strlen(path) + 2 > 4096) return 0;
  strcpy(out, base); strcat(out, "/"); strcat(out, path);
  return wanted(out);
}

static void record(int op, const char *path, uint64_t off, const struct iovec *v, int n, size_t total) {
  if (log_fd < 0) return;
  unsigned char head[19]; uint16_t pl = strlen(path); uint64_t len = total;
  head[0] = op; memcpy(head + 1, &pl, 2); memcpy(head + 3, &off, 8); memcpy(head + 11, &len, 8);
  size_t size = 19 + pl + total, at = 19 + pl, left = total;
  unsigned char *buf = malloc(size);
  if (!buf) abort();
  memcpy(buf, head, 19); memcpy(buf + 19, path, pl);
  for (int i = 0; i < n && left; i++) {
    size_t k = v[i].iov_len < left ? v[i].iov_len : left;
    memcpy(buf + at, v[i].iov_base, k); at += k; left -= k;
  }
  for (size_t done = 0; done < size;) {
    ssize_t k = syscall(SYS_write, log_fd, buf + done, size - done);
    if (k <= 0) abort(); /* a log with holes proves nothing */
    done += k;
  }
  free(buf);
}

/* 0: go on.  1: fail now, errno set.  2: make the call, then fail.  3: write half of it. */
static int verdict(int op) {
  calls[op]++;
  if (!armed[op].n) return 0;
  if (armed[op].n > 1) { armed[op].n--; return 0; }
  if (armed[op].count-- <= 0) { armed[op].n = 0; return 0; }
  failed_calls++;
  if (!armed[op].err) return 3;
  errno = armed[op].err;
  if (armed[op].after == 2) {
    for (const char *each = "wds"; *each; each++) {
      armed[(int)*each].n = 1; armed[(int)*each].count = 1L << 60; armed[(int)*each].err = EIO; armed[(int)*each].after = 0;
    }
    return 2;
  }
  return armed[op].after ? 2 : 1;
}

#define REAL(name) static __typeof__(&name) real; if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)
#define ENTER pthread_mutex_lock(&lock)
#define LEAVE do { int saved = errno; pthread_mutex_unlock(&lock); errno = saved; } while (0)

static ssize_t do_writev(int fd, const struct iovec *v, int n, off_t off, int positioned, const char *path) {
  int dsync = (fcntl(fd, F_GETFL) & O_DSYNC) != 0, op = dsync ? 'd' : 'w', err = 0;
  size_t total = 0; struct iovec half;
  for (int i = 0; i < n; i++) total += v[i].iov_len;
  ENTER;
  int what = verdict(op);
  if (what == 1) { LEAVE; return -1; }
  if (what == 2) err = errno;
  if (what == 3) { half = v[0]; half.iov_len = v[0].iov_len / 2; v = &half; n = 1; total = half.iov_len; }
  off_t at = off;
  if (!positioned) {
    struct stat st;
    if (fcntl(fd, F_GETFL) & O_APPEND) at = fstat(fd, &st) == 0 ? st.st_size : 0; else at = lseek(fd, 0, SEEK_CUR);
  }
  ssize_t k = positioned ? syscall(SYS_pwritev, fd, v, (unsigned long)n, (unsigned long)off, 0UL) : syscall(SYS_writev, fd, v, n);
  if (k > 0) record(dsync ? 'D' : 'W', path, at, v, n, k);
  if (err) { errno = err; k = -1; }
  LEAVE;
  return k;
}

ssize_t pwrite(int fd, const void *b, size_t n, off_t o) {
  char path[4096]; REAL(pwrite);
  if (!path_of(fd, path)) return real(fd, b, n, o);
  struct iovec v = {(void *)b, n};
  return do_writev(fd, &v, 1, o, 1, path);
}
ssize_t pwrite64(int fd, const void *b, size_t n, off_t o) { return pwrite(fd, b, n, o); }
ssize_t pwritev(int fd, const struct iovec *v, int n, off_t o) {
  char path[4096]; REAL(pwritev);
  return path_of(fd, path) ? do_writev(fd, v, n, o, 1, path) : real(fd, v, n, o);
}
ssize_t pwritev64(int fd, const struct iovec *v, int n, off_t o) { return pwritev(fd, v, n, o); }
ssize_t writev(int fd, const struct iovec *v, int n) {
  char path[4096]; REAL(writev);
  return path_of(fd, path) ? do_writev(fd, v, n, 0, 0, path) : real(fd, v, n);
}
ssize_t write(int fd, const void *b, size_t n) {
  char path[4096]; REAL(write);
  struct iovec v = {(void *)b, n};
  if (fd == ACK_FD && log_fd >= 0) { /* into the log, and on to whoever listens */
    ENTER; record('A', "", 0, &v, 1, n); LEAVE;
    ssize_t k = real(fd, b, n);
    return k < 0 && errno == EBADF ? (ssize_t)n : k;
  }
  return path_of(fd, path) ? do_writev(fd, &v, 1, 0, 0, path) : real(fd, b, n);
}

static int synced(int fd, int data_only, const char *path) {
  ENTER;
  int what = verdict('s'), err = errno;
  if (what == 1 || what == 3) { if (what == 3) errno = EIO; LEAVE; return -1; }
  int k = syscall(data_only ? SYS_fdatasync : SYS_fsync, fd);
  if (k == 0) record('S', path, 0, 0, 0, 0);
  if (what == 2) { errno = err; k = -1; }
  LEAVE;
  return k;
}
int fsync(int fd) { char path[4096]; REAL(fsync); return path_of(fd, path) ? synced(fd, 0, path) : real(fd); }
int fdatasync(int fd) { char path[4096]; REAL(fdatasync); return path_of(fd, path) ? synced(fd, 1, path) : real(fd); }

static int resized(int fd, int kind, int mode, off_t off, off_t len, const char *path) {
  struct stat st;
  ENTER;
  int what = verdict('t'), err = errno;
  if (what == 1 || what == 3) { if (what == 3) errno = EIO; LEAVE; return -1; }
  int k = kind ? syscall(SYS_fallocate, fd, mode, off, len) : syscall(SYS_ftruncate, fd, len);
  if (k == 0 && fstat(fd, &st) == 0) record('T', path, st.st_size, 0, 0, 0);
  if (what == 2) { errno = err; k = -1; }
  LEAVE;
  return k;
}
int ftruncate(int fd, off_t n) { char path[4096]; REAL(ftruncate); return path_of(fd, path) ? resized(fd, 0, 0, 0, n, path) : real(fd, n); }
int ftruncate64(int fd, off_t n) { return ftruncate(fd, n); }
int fallocate(int fd, int m, off_t o, off_t n) { char path[4096]; REAL(fallocate); return path_of(fd, path) ? resized(fd, 1, m, o, n, path) : real(fd, m, o, n); }
int fallocate64(int fd, int m, off_t o, off_t n) { return fallocate(fd, m, o, n); }
int posix_fallocate(int fd, off_t o, off_t n) {
  char path[4096]; REAL(posix_fallocate);
  if (!path_of(fd, path)) return real(fd, o, n);
  return resized(fd, 1, 0, o, n, path) == 0 ? 0 : errno;
}
int posix_fallocate64(int fd, off_t o, off_t n) { return posix_fallocate(fd, o, n); }

/* ---- names ---- */
static int opened(int dir, const char *path, int flags, mode_t mode) {
  char full[4096]; struct stat st;
  if (!(flags & (O_CREAT | O_TRUNC)) || !match_text || !absolute(dir, path, full)) return syscall(SYS_openat, dir, path, flags, mode);
  ENTER;
  int was = stat(full, &st) == 0;
  if (!was) { int what = verdict('n'); if (what == 1) { LEAVE; return -1; } }
  int fd = syscall(SYS_openat, dir, path, flags, mode);
  if (fd >= 0 && !was) record('C', full, 0, 0, 0, 0);
  if (fd >= 0 && was && (flags & O_TRUNC) && st.st_size) record('T', full, 0, 0, 0, 0);
  LEAVE;
  return fd;
}
#define MODE mode_t m = 0; if (flags & (O_CREAT | O_TMPFILE)) { va_list a; va_start(a, flags); m = va_arg(a, mode_t); va_end(a); }
int open(const char *p, int flags, ...) { MODE; return opened(AT_FDCWD, p, flags, m); }
int open64(const char *p, int flags, ...) { MODE; return opened(AT_FDCWD, p, flags | O_LARGEFILE, m); }
int openat(int d, const char *p, int flags, ...) { MODE; return opened(d, p, flags, m); }
int openat64(int d, const char *p, int flags, ...) { MODE; return opened(d, p, flags | O_LARGEFILE, m); }

static int named(int op, int d1, const char *a, int d2, const char *b, unsigned flags) {
  char from[4096], to[4096] = "";
  int mine = match_text && absolute(d1, a, from);
  if (mine && b) { absolute(d2, b, to); }
  if (mine) { ENTER; int what = verdict('n'); if (what == 1) { LEAVE; return -1; } }
  int k = op == 'R' ? syscall(SYS_renameat2, d1, a, d2, b, flags) : syscall(SYS_unlinkat, d1, a, flags);
  if (mine) {
    struct iovec v = {to, strlen(to)};
    if (k == 0) record(op, from, 0, &v, 1, b ? v.iov_len : 0);
    LEAVE;
  }
  return k;
}
int rename(const char *a, const char *b) { return named('R', AT_FDCWD, a, AT_FDCWD, b, 0); }
int renameat(int d, const char *a, int e, const char *b) { return named('R', d, a, e, b, 0); }
int renameat2(int d, const char *a, int e, const char *b, unsigned f) { return named('R', d, a, e, b, f); }
int unlink(const char *a) { return named('U', AT_FDCWD, a, 0, 0, 0); }
int unlinkat(int d, const char *a, int f) { return named('U', d, a, 0, 0, f); }
