#include "parapet/core/files.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "parapet/core/error.h"
#include "parapet/core/file_draft.h"
#include "parapet/core/strings.h"

namespace parapet {
namespace {

namespace fs = std::filesystem;

// Owns a descriptor for the length of a scope.
struct Descriptor {
  int fd = -1;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

int open_for_read(const fs::path& file, struct stat& info) {
  // O_NONBLOCK: opening a named pipe must not wait for a writer; regular files ignore it.
  const int fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0)
    throw DataError(file.string(), std::strerror(errno), "Check the path and its permissions.");
  if (::fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    ::close(fd);
    throw DataError(file.string(), "not a regular file");
  }
  return fd;
}

}  // namespace

std::string read_file(const fs::path& file, int64_t cap) {
  struct stat info {};
  Descriptor in{open_for_read(file, info)};
  if (info.st_size > cap)
    throw DataError(file.string(),
                    "is " + format_bytes(info.st_size) + ", the limit is " + format_bytes(cap));
  std::string bytes(static_cast<size_t>(info.st_size), '\0');
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n = ::read(in.fd, bytes.data() + done, bytes.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw DataError(file.string(), std::string("read failed: ") + std::strerror(errno));
    if (n == 0) break;
    done += static_cast<size_t>(n);
  }
  bytes.resize(done);
  return bytes;
}

void write_file_atomic(const fs::path& file, const std::function<void(const ByteSink&)>& write) {
  FileDraft draft(file);
  write([&](std::string_view bytes) { draft.append(bytes); });
  draft.commit();
}

void write_file_atomic(const fs::path& file, std::string_view bytes) {
  write_file_atomic(file, [&](const ByteSink& sink) { sink(bytes); });
}

void copy_file_atomic(const fs::path& from, const fs::path& to) {
  struct stat info {};
  const Descriptor in{open_for_read(from, info)};
  write_file_atomic(to, [&](const ByteSink& sink) {
    std::string block(size_t{1} << 20, '\0');
    while (true) {
      const ssize_t n = ::read(in.fd, block.data(), block.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0)
        throw DataError(from.string(), std::string("read failed: ") + std::strerror(errno));
      if (n == 0) return;
      sink({block.data(), static_cast<size_t>(n)});
    }
  });
}

FileReader::FileReader(const fs::path& file) : file_(file) {
  struct stat info {};
  fd_ = open_for_read(file, info);
  size_ = info.st_size;
}

FileReader::~FileReader() { ::close(fd_); }

size_t FileReader::read_at(int64_t offset, char* out, size_t count) const {
  size_t done = 0;
  while (done < count) {
    const ssize_t n = ::pread(fd_, out + done, count - done,
                              static_cast<off_t>(offset) + static_cast<off_t>(done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw DataError(file_.string(), std::string("read failed: ") + std::strerror(errno));
    if (n == 0) break;
    done += static_cast<size_t>(n);
  }
  return done;
}

std::shared_ptr<const MappedFile> MappedFile::open(const fs::path& file) {
  struct stat info {};
  Descriptor in{open_for_read(file, info)};
  const auto size = static_cast<size_t>(info.st_size);
  if (size == 0) return std::shared_ptr<const MappedFile>(new MappedFile(file, nullptr, 0));
  void* data = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, in.fd, 0);
  if (data == MAP_FAILED)
    throw DataError(file.string(), std::string("cannot map: ") + std::strerror(errno));
  return std::shared_ptr<const MappedFile>(
      new MappedFile(file, static_cast<std::byte*>(data), size));
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(data_, size_);
}

Sha256::Sha256() : context_(EVP_MD_CTX_new()) {
  EVP_DigestInit_ex(static_cast<EVP_MD_CTX*>(context_), EVP_sha256(), nullptr);
}
Sha256::~Sha256() { EVP_MD_CTX_free(static_cast<EVP_MD_CTX*>(context_)); }

Sha256& Sha256::update(std::string_view bytes) {
  EVP_DigestUpdate(static_cast<EVP_MD_CTX*>(context_), bytes.data(), bytes.size());
  return *this;
}

std::string Sha256::hex() {
  unsigned char digest[32];
  unsigned int size = sizeof digest;
  EVP_DigestFinal_ex(static_cast<EVP_MD_CTX*>(context_), digest, &size);
  static constexpr char kHex[] = "0123456789abcdef";
  std::string text;
  for (unsigned char byte : digest) {
    text.push_back(kHex[byte >> 4]);
    text.push_back(kHex[byte & 15]);
  }
  return text;
}

std::string sha256_hex(std::string_view bytes) { return Sha256().update(bytes).hex(); }

std::string sha256_file(const fs::path& file) {
  // Read, not mapped: a file that shrinks meanwhile must not end the program.
  struct stat info {};
  const Descriptor in{open_for_read(file, info)};
  Sha256 hash;
  std::string block(size_t{1} << 20, '\0');
  while (true) {
    const ssize_t n = ::read(in.fd, block.data(), block.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw DataError(file.string(), std::string("read failed: ") + std::strerror(errno));
    if (n == 0) return hash.hex();
    hash.update({block.data(), static_cast<size_t>(n)});
  }
}

}  // namespace parapet
