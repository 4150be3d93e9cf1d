// Runs parapet_training_toy (training_toy_main.cpp) as a child process.
#pragma once
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <csignal>
#include <cstdlib>

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "parapet/core/files.h"

extern char** environ;

namespace parapet::test {

class ToyProcess {
 public:
  // Output goes to `log`. `variables` are added to the environment.
  ToyProcess(const std::filesystem::path& run, const std::vector<std::string>& arguments,
             const std::filesystem::path& log,
             const std::map<std::string, std::string>& variables = {})
      : log_(log) {
    std::vector<std::string> words = {PARAPET_TRAINING_TOY, run.string()};
    words.insert(words.end(), arguments.begin(), arguments.end());
    start(words, variables);
  }
  // Any command line.
  ToyProcess(std::vector<std::string> words, const std::filesystem::path& log) : log_(log) {
    start(words, {});
  }
  ~ToyProcess() {
    if (pid_ > 0) {
      kill();
      wait();
    }
  }
  ToyProcess(const ToyProcess&) = delete;
  ToyProcess& operator=(const ToyProcess&) = delete;

  void kill() const { ::kill(pid_, SIGKILL); }
  // Exit code, or minus the signal.
  int wait() {
    int status = 0;
    ::waitpid(pid_, &status, 0);
    pid_ = -1;
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
  }
  std::string output() const { return read_file(log_); }

 private:
  // Everything is prepared before fork: the child of a threaded process may only exec.
  void start(std::vector<std::string>& words, const std::map<std::string, std::string>& variables);

  std::filesystem::path log_;
  pid_t pid_ = -1;
};

inline void ToyProcess::start(std::vector<std::string>& words,
                              const std::map<std::string, std::string>& variables) {
  std::vector<std::string> settings;
  for (char** entry = environ; *entry != nullptr; ++entry) settings.emplace_back(*entry);
  for (const auto& [name, value] : variables) settings.push_back(name + "=" + value);
  std::vector<char*> argv, envp;
  for (auto& word : words) argv.push_back(word.data());
  for (auto& setting : settings) envp.push_back(setting.data());
  argv.push_back(nullptr);
  envp.push_back(nullptr);
  const int out = ::open(log_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
  pid_ = ::fork();
  if (pid_ == 0) {
    ::dup2(out, 1);
    ::dup2(out, 2);
    ::execve(argv[0], argv.data(), envp.data());
    ::_exit(127);
  }
  ::close(out);
}

// Bytes of what a resumed run must reproduce.
inline std::string final_bytes(const std::filesystem::path& run) {
  const auto last = run / "checkpoints" / "last";
  return read_file(last / "weights.safetensors") + read_file(last / "optimizer.safetensors") +
         read_file(last / "buffers.safetensors") + read_file(last / "generators.safetensors");
}

}  // namespace parapet::test
