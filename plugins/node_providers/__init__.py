"""Where machines come from, one provider a file: this machine's processes, machines reached by SSH, clouds."""
