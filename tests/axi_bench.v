// The wrapped accelerator in Icarus Verilog, driven by lines on stdin (tests/wrapped.py). Beats stall at random.
`timescale 1ns / 1ps
module bench;
  localparam STDIN = 32'h8000_0000, PATIENCE = 100000;
  reg aclk = 0, aresetn = 0;
  reg [`DATA-1:0] data = 0;
  reg [`DATA/8-1:0] keep = 0;
  reg valid = 0, last = 0, take = 0, armed = 0;
  reg [`ADDRESS-1:0] address = 0;
  reg [31:0] written = 0;
  reg awvalid = 0, wvalid = 0, arvalid = 0;
  wire ready, out_valid, out_last, out_user, awready, wready, bvalid, arready, rvalid;
  wire [31:0] out, read;
  wire [3:0] out_keep;
  wire [1:0] bresp, rresp;
  reg [33:0] store[0:65535];
  reg [33:0] held;
  reg waits = 0;
  integer stored = 0, told = 0, code, seed = `SEED, argument, other, ends, patience;
  reg [7:0] what;
  reg [63:0] word;
  always #5 aclk = ~aclk;
  gradrtl_axi #(.USE_TKEEP(`USE_TKEEP)) dut (
    .aclk(aclk), .aresetn(aresetn), .s_axis_tdata(data), .s_axis_tkeep(keep), .s_axis_tvalid(valid),
    .s_axis_tready(ready), .s_axis_tlast(last), .m_axis_tdata(out), .m_axis_tkeep(out_keep), .m_axis_tvalid(out_valid),
    .m_axis_tready(take), .m_axis_tlast(out_last), .m_axis_tuser(out_user),
    .s_axil_awaddr(address), .s_axil_awvalid(awvalid), .s_axil_awready(awready), .s_axil_wdata(written),
    .s_axil_wstrb(4'hf), .s_axil_wvalid(wvalid), .s_axil_wready(wready), .s_axil_bresp(bresp), .s_axil_bvalid(bvalid),
    .s_axil_bready(1'b1), .s_axil_araddr(address), .s_axil_arvalid(arvalid), .s_axil_arready(arready),
    .s_axil_rdata(read), .s_axil_rresp(rresp), .s_axil_rvalid(rvalid), .s_axil_rready(1'b1)
  );

  task stop(input [8*40-1:0] why);
    begin
      $display("! %0s", why);
      $finish;
    end
  endtask

  // A packet leaves only while it is awaited, as with a DMA.
  always @(negedge aclk) take = armed && (!`STALLED || $random(seed));
  always @(posedge aclk) begin
    if (aresetn && ^{ready, out_valid, awready, wready, bvalid, arready, rvalid} === 1'bx) stop("X on a control output");
    if (waits && {out_last, out_user, out} !== held) stop("m_axis changed under a stall");
    waits <= aresetn && out_valid && !take;
    held <= {out_last, out_user, out};
    if (out_valid && take) begin
      if (^{out, out_last, out_user} === 1'bx || out_keep !== 4'hf) stop("X in a packet");
      store[stored] = {out_last, out_user, out};
      stored = stored + 1;
      if (out_last) armed = 0;
    end
  end

  task passed(input done);
    begin
      patience = patience - 1;
      if (patience == 0) stop("nothing moves");
    end
  endtask

  initial begin
    repeat (4) @(negedge aclk);
    aresetn = 1;
    ends = 0;
    while (!ends) begin
      code = $fscanf(STDIN, " %c %h %h", what, word, other);
      patience = PATIENCE;
      if (code < 3) ends = 1;
      else case (what)
        "d": data = word;  // the data of the next beat
        "s": begin  // send a beat: TKEEP, TLAST
          while (`STALLED && $random(seed) % 2 != 0) @(negedge aclk);
          keep = word;
          last = other;
          valid = 1;
          #1 while (!ready) begin
            @(negedge aclk);
            #1 passed(0);
          end
          @(negedge aclk);
          valid = 0;
        end
        "a": armed = 1;  // a packet is awaited
        "p": begin  // its words
          if (!armed && told == stored) stop("no packet is awaited");
          while (armed) begin
            @(negedge aclk);
            passed(0);
          end
          while (told < stored) begin
            $display("%0d %b %b", $signed(store[told][31:0]), store[told][33], store[told][32]);
            told = told + 1;
          end
        end
        "r": begin  // read a register
          address = word;
          arvalid = 1;
          #1 while (!arready) @(negedge aclk);
          @(negedge aclk);
          arvalid = 0;
          while (!rvalid) @(negedge aclk);
          $display("%0d %0d", read, rresp);
          @(negedge aclk);
        end
        "w": begin  // write a register
          address = word;
          written = other;
          {awvalid, wvalid} = 2'b11;
          @(negedge aclk);
          {awvalid, wvalid} = 2'b00;
          while (!bvalid) @(negedge aclk);
          $display("%0d", bresp);
          @(negedge aclk);
        end
        "c": repeat (word) @(negedge aclk);  // let cycles pass
        "x": begin  // reset for a cycle: what the control outputs are meanwhile
          aresetn = 0;
          #1 $display("%b", {ready, out_valid, awready, wready, bvalid, arready, rvalid});
          repeat (2) @(negedge aclk);
          aresetn = 1;
          armed = 0;
          @(negedge aclk);
        end
        default: stop("unknown line");
      endcase
      $fflush;
    end
    $finish;
  end
endmodule
